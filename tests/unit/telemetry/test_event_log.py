"""What events are in the log."""

from __future__ import annotations

import hmac
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from smtpconnector_server.delivery.events import MailSettled
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.outbox.events import (
    AttemptStarted,
    ClaimLost,
    MessageAccepted,
    MessageDeferred,
    MessageEnded,
    StoreSwept,
)
from smtpconnector_server.rpc.events import LimitCountedAlone, LimitsShared, MailComposed
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.events import (
    BreakerClosed,
    BreakerOpened,
    LineSaid,
    PauseHeard,
    SessionAwaited,
    SessionClosed,
    SessionFailed,
    SessionOpened,
    SteppedDown,
    TokenRenewed,
    WireEvent,
)
from smtpconnector_server.smtp.transaction import Level
from smtpconnector_server.store.record import Attempt, Swept
from smtpconnector_server.store.state import Mode, State
from smtpconnector_server.telemetry.event_log import EventLog
from smtpconnector_server.telemetry.hook import tell

HERE: dict[str, Any] = {"host": "smtp.example.com", "port": 587}
REFUSED = Failure(Reason.SMTP_AUTH_FAILED, "canary-text", stage=Stage.AUTH, outcome=Outcome.REJECTED)
TOKEN_URL = "https://login.example.com/canary-path?key=canary-key"

LINES: list[tuple[WireEvent | MailSettled, dict[str, Any]]] = [
    (
        SessionOpened(
            **HERE, seconds=0.5, capabilities=Capabilities(tls_version="TLSv1.3"), steps=((Stage.CONNECT, 0.25),)
        ),
        {
            **HERE,
            "event": "session_opened",
            "log_level": "debug",
            "tls": "TLSv1.3",
            "milliseconds": 500.0,
            "steps": {"CONNECT": 250.0},
        },
    ),
    (
        SessionFailed(**HERE, seconds=0.5, failure=REFUSED, steps=()),
        {
            **HERE,
            "event": "session_failed",
            "log_level": "info",
            "reason": "SMTP_AUTH_FAILED",
            "stage": "AUTH",
            "smtp_code": None,
            "milliseconds": 500.0,
        },
    ),
    (
        SessionClosed(**HERE, why="idle", messages=3),
        {**HERE, "event": "session_closed", "log_level": "debug", "why": "idle", "messages": 3},
    ),
    (
        LineSaid(**HERE, connection=7, speaker="server", line="250 Ok"),
        {
            **HERE,
            "event": "smtp_transcript",
            "log_level": "info",
            "connection": 7,
            "speaker": "server",
            "line": "250 Ok",
        },
    ),
    (
        SteppedDown(**HERE, level=Level.PIPELINING, lowered=Level.SERIAL, why="closed the connection"),
        {
            **HERE,
            "event": "stepped_down",
            "log_level": "warning",
            "level": "PIPELINING",
            "lowered": "SERIAL",
            "why": "closed the connection",
        },
    ),
    (
        BreakerOpened(**HERE, seconds=5.0, failure=REFUSED),
        {
            **HERE,
            "event": "breaker_opened",
            "log_level": "warning",
            "pause_seconds": 5.0,
            "reason": "SMTP_AUTH_FAILED",
            "stage": "AUTH",
        },
    ),
    (
        PauseHeard(**HERE, seconds=4.26, reason=Reason.SMTP_AUTH_FAILED),
        {
            **HERE,
            "event": "pause_heard",
            "log_level": "info",
            "pause_seconds": 4.3,
            "reason": "SMTP_AUTH_FAILED",
        },
    ),
    (BreakerClosed(**HERE), {**HERE, "event": "breaker_closed", "log_level": "info"}),
    (
        TokenRenewed(TOKEN_URL, 0.5, None),
        {
            "event": "oauth2_token_renewed",
            "log_level": "debug",
            "token_host": "login.example.com",
            "milliseconds": 500.0,
        },
    ),
    (
        TokenRenewed(TOKEN_URL, 0.5, Failure(Reason.OAUTH2_TOKEN_REJECTED, "canary-text", stage=Stage.TOKEN)),
        {
            "event": "oauth2_token_refused",
            "log_level": "warning",
            "token_host": "login.example.com",
            "reason": "OAUTH2_TOKEN_REJECTED",
            "milliseconds": 500.0,
        },
    ),
    (
        LimitCountedAlone(error="the disk is full"),
        {"event": "limits_counted_alone", "log_level": "warning", "error": "the disk is full"},
    ),
    (LimitsShared(), {"event": "limits_shared", "log_level": "info"}),
    (
        MessageAccepted("d1", "shop", Mode.ENQUEUE),
        {
            "event": "message_accepted",
            "log_level": "info",
            "delivery_id": "d1",
            "profile": "shop",
            "mode": "ENQUEUE",
        },
    ),
    (
        MessageDeferred(
            "d1",
            "shop",
            2,
            Attempt(
                host="h", reason="SMTP_RATE_LIMITED", stage="MAIL", text="canary", reply_code=421, reply_text="canary"
            ),
            2.04,
        ),
        {
            "event": "message_deferred",
            "log_level": "info",
            "delivery_id": "d1",
            "profile": "shop",
            "attempt": 2,
            "host": "h",
            "reason": "SMTP_RATE_LIMITED",
            "stage": "MAIL",
            "smtp_code": 421,
            "delay_seconds": 2.0,
        },
    ),
    (
        MessageEnded("d1", "shop", Mode.WAIT, 1, Attempt(host="h", reply_code=250), State.SENT, 0.1239),
        {
            "event": "message_ended",
            "log_level": "info",
            "delivery_id": "d1",
            "profile": "shop",
            "attempt": 1,
            "state": "SENT",
            "host": "h",
            "reason": None,
            "stage": None,
            "smtp_code": 250,
            "seconds": 0.124,
        },
    ),
    (
        ClaimLost("d1", 3, State.CANCELLED),
        {"event": "claim_lost", "log_level": "info", "delivery_id": "d1", "attempt": 3, "state": "CANCELLED"},
    ),
    (
        StoreSwept(Swept(uncertain=2)),
        {
            "event": "store_swept",
            "log_level": "warning",
            "requeued": 0,
            "resent": 0,
            "uncertain": 2,
            "lapsed": 0,
            "purged": 0,
        },
    ),
    (
        MailSettled("default", "smtp.example.com", "SENT"),
        {
            "event": "late_reply",
            "log_level": "warning",
            "profile": "default",
            "host": "smtp.example.com",
            "outcome": "SENT",
        },
    ),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda case: type(case).__name__)
def test_an_event_is_a_line_of_facts_without_texts_of_others(event: Any, line: dict[str, Any]) -> None:
    with structlog.testing.capture_logs() as lines:
        tell(EventLog().listeners)(event)
    assert lines == [line]


def test_an_attempts_lines_name_its_message_and_whether_it_was_taken_over() -> None:
    structlog.contextvars.clear_contextvars()
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        tell(EventLog().listeners)(AttemptStarted("d1", 1, is_taken_over=False))
        assert lines == []
        tell(EventLog().listeners)(AttemptStarted("d1", 2, is_taken_over=True))
        tell(EventLog().listeners)(BreakerClosed(**HERE))
    structlog.contextvars.clear_contextvars()
    assert [(line["event"], line["delivery_id"]) for line in lines] == [
        ("message_taken_over", "d1"),
        ("breaker_closed", "d1"),
    ]


def test_a_sweep_that_only_forgot_writes_no_line() -> None:
    with structlog.testing.capture_logs() as lines:
        tell(EventLog().listeners)(StoreSwept(Swept(purged=3)))
    assert lines == []


def test_what_every_mail_does_writes_no_line_of_its_own() -> None:
    with structlog.testing.capture_logs() as lines:
        tell(EventLog().listeners)(SessionAwaited(**HERE, seconds=0.1, was_lent=True))
    assert lines == []


def test_the_lines_of_a_mail_name_its_server_and_only_the_hash_of_its_recipient() -> None:
    composed: Any = SimpleNamespace(
        server=SimpleNamespace(host="smtp.example.com"), mail=SimpleNamespace(recipient="Ada@Example.com")
    )
    structlog.contextvars.clear_contextvars()
    tell(EventLog(b"a key of the operator").listeners)(MailComposed(composed, 0.1))
    assert structlog.contextvars.get_contextvars() == {
        "host": "smtp.example.com",
        "recipient": hmac.digest(b"a key of the operator", b"ada@example.com", "sha256").hex()[:16],
    }
    structlog.contextvars.clear_contextvars()


def test_without_a_key_of_the_operator_each_process_has_one_that_nobody_knows() -> None:
    composed: Any = SimpleNamespace(server=SimpleNamespace(host="h"), mail=SimpleNamespace(recipient="ada@example.com"))
    seen = set()
    for log in (EventLog(), EventLog()):
        tell(log.listeners)(MailComposed(composed, 0.1))
        seen.add(structlog.contextvars.get_contextvars()["recipient"])
    structlog.contextvars.clear_contextvars()
    assert len(seen) == 2
    assert hmac.digest(b"", b"ada@example.com", "sha256").hex()[:16] not in seen
