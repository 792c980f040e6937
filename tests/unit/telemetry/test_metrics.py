"""What events are in the metrics, and that no label can grow without end."""

from __future__ import annotations

from typing import Any

import pytest

from smtpconnector_server.config.origin import Origin
from smtpconnector_server.delivery.events import MailEnded, MailSettled
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.outbox.events import (
    ClaimLost,
    MessageAccepted,
    MessageDeferred,
    MessageEnded,
    QueueMeasured,
    StoreSwept,
)
from smtpconnector_server.rpc.events import CallEnded, LimitCountedAlone, MailComposed
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.events import (
    BreakerOpened,
    PauseHeard,
    SessionAwaited,
    SessionFailed,
    SessionOpened,
    SteppedDown,
    TokenRenewed,
    TransactionEnded,
)
from smtpconnector_server.smtp.pool_counts import PoolCounts
from smtpconnector_server.smtp.transaction import Level
from smtpconnector_server.store.events import StoreAsked
from smtpconnector_server.store.record import Attempt, Depth, Swept
from smtpconnector_server.store.state import Mode, State
from smtpconnector_server.telemetry.hook import tell
from smtpconnector_server.telemetry.metrics import Metrics

HERE: dict[str, Any] = {"host": "smtp.example.com", "port": 587}
SERVER = "smtp.example.com:587"
REFUSED = Failure(Reason.SMTP_AUTH_FAILED, "text", stage=Stage.AUTH, outcome=Outcome.REJECTED)
COMPOSED: Any = None

CASES: list[tuple[Any, dict[str, dict[str, str]]]] = [
    (
        CallEnded("SendMessage", "OK", None, 0.1),
        {
            "calls_total": {"method": "SendMessage", "code": "OK", "reason": "OK"},
            "call_seconds_count": {"method": "SendMessage"},
        },
    ),
    (
        CallEnded("SendMessage", "FAILED_PRECONDITION", REFUSED, 0.1),
        {"calls_total": {"method": "SendMessage", "code": "FAILED_PRECONDITION", "reason": "SMTP_AUTH_FAILED"}},
    ),
    (
        CallEnded("ValidateConfig", "CANCELLED", None, 0.1),
        {"calls_total": {"method": "ValidateConfig", "code": "CANCELLED", "reason": "CANCELLED"}},
    ),
    (LimitCountedAlone(error=None), {"limits_counted_alone_total": {}}),
    (MailComposed(COMPOSED, 0.1), {"stage_seconds_count": {"stage": "COMPOSE"}}),
    (
        MailEnded("shop", None, 2, 0.1),
        {
            "mails_total": {"profile": "shop", "outcome": "SENT", "reason": "OK"},
            "mail_retries_total": {"profile": "shop"},
        },
    ),
    (
        MailEnded(None, REFUSED, 1, 0.1),
        {"mails_total": {"profile": "own", "outcome": "REJECTED", "reason": "SMTP_AUTH_FAILED"}},
    ),
    (MailSettled("shop", "h", Outcome.UNKNOWN), {"late_replies_total": {"profile": "shop", "outcome": "UNKNOWN"}}),
    (MailSettled(None, "h", "SENT"), {"late_replies_total": {"profile": "own", "outcome": "SENT"}}),
    (MessageAccepted("d", "shop", Mode.ENQUEUE), {"messages_accepted_total": {"profile": "shop", "mode": "ENQUEUE"}}),
    (
        MessageEnded("d", None, Mode.WAIT, 2, Attempt(), State.SENT, 0.5),
        {
            "messages_ended_total": {"profile": "own", "state": "SENT", "reason": "OK"},
            "message_attempts_total": {"profile": "own", "reason": "OK"},
            "message_seconds_count": {"mode": "WAIT", "state": "SENT"},
        },
    ),
    (
        MessageDeferred("d", "shop", 1, Attempt(reason="SMTP_AUTH_FAILED"), 2.0),
        {"message_attempts_total": {"profile": "shop", "reason": "SMTP_AUTH_FAILED"}},
    ),
    (
        MessageDeferred("d", "shop", 1, Attempt(), 0.0),
        {"message_attempts_total": {"profile": "shop", "reason": "DELIVERY_EXPIRED"}},
    ),
    (ClaimLost("d", 1, State.CANCELLED), {"claims_lost_total": {"state": "CANCELLED"}}),
    (ClaimLost("d", 1, None), {"claims_lost_total": {"state": "GONE"}}),
    (StoreSwept(Swept(requeued=1)), {"messages_swept_total": {"change": "requeued"}}),
    (
        StoreAsked("commit", 0.01, has_failed=True),
        {"store_seconds_count": {"operation": "commit"}, "store_failures_total": {"operation": "commit"}},
    ),
    (SessionAwaited(**HERE, seconds=0.1, was_lent=False), {"stage_seconds_count": {"stage": "POOL"}}),
    (
        TransactionEnded(**HERE, level=Level.SINGLE_FLIGHT, round_trips=1, seconds=0.1, failure=None),
        {
            "stage_seconds_count": {"stage": "TRANSACTION"},
            "transaction_round_trips_count": {"level": "SINGLE_FLIGHT"},
            "transaction_round_trips_sum": {"level": "SINGLE_FLIGHT"},
        },
    ),
    (
        SessionOpened(**HERE, seconds=0.1, capabilities=Capabilities(), steps=((Stage.TLS, 0.1),)),
        {"sessions_opened_total": {"server": SERVER}, "stage_seconds_count": {"stage": "TLS"}},
    ),
    (
        SessionFailed(**HERE, seconds=0.1, failure=REFUSED, steps=((Stage.AUTH, 0.1),)),
        {
            "session_failures_total": {"server": SERVER, "reason": "SMTP_AUTH_FAILED"},
            "stage_seconds_count": {"stage": "AUTH"},
        },
    ),
    (
        SteppedDown(**HERE, level=Level.PIPELINING, lowered=Level.SERIAL, why="w"),
        {"level_step_downs_total": {"server": SERVER, "lowered": "SERIAL"}},
    ),
    (BreakerOpened(**HERE, seconds=5.0, failure=REFUSED), {"breaker_openings_total": {"server": SERVER}}),
    (PauseHeard(**HERE, seconds=5.0, reason=Reason.SMTP_AUTH_FAILED), {"pauses_heard_total": {"server": SERVER}}),
    (TokenRenewed("https://login.example.com/", 0.1, None), {"token_renewals_total": {"reason": "OK"}}),
    (TokenRenewed("https://x.example/", 0.1, REFUSED), {"token_renewals_total": {"reason": "SMTP_AUTH_FAILED"}}),
]


def value(metrics: Metrics, name: str, labels: dict[str, str] | None = None) -> float | None:
    return metrics.registry.get_sample_value(f"smtpconnector_{name}", labels)


@pytest.mark.parametrize(("event", "samples"), CASES, ids=lambda case: type(case).__name__)
def test_an_event_counts_where_it_belongs(event: Any, samples: dict[str, dict[str, str]]) -> None:
    metrics = Metrics()
    tell(metrics.listeners())(event)
    tell(metrics.listeners())(event)
    assert {name: value(metrics, name, labels) for name, labels in samples.items()} == dict.fromkeys(samples, 2.0)


def test_no_server_of_a_callers_configuration_becomes_a_label() -> None:
    metrics = Metrics()
    hook = tell(metrics.listeners(Origin.CALLER))
    for event, _ in CASES:
        hook(event)
    labels = {
        label for family in metrics.registry.collect() for sample in family.samples for label in sample.labels.values()
    }
    assert "own" in labels
    assert not [label for label in labels if "example" in label]


def test_what_matters_most_is_there_before_it_happens_first() -> None:
    metrics = Metrics(["shop"])
    assert value(metrics, "messages_swept_total", {"change": "uncertain"}) == 0
    assert value(metrics, "store_failures_total", {"operation": "beat"}) == 0
    defects = {"method": "SendMessage", "code": "INTERNAL", "reason": "INTERNAL"}
    assert value(metrics, "calls_total", defects) == 0
    for profile in ("shop", "own"):
        for outcome, reason in (("SENT", "OK"), ("UNKNOWN", "DELIVERY_UNCERTAIN")):
            labels = {"profile": profile, "outcome": outcome, "reason": reason}
            assert value(metrics, "mails_total", labels) == 0


def test_a_sample_tells_of_a_moment_and_a_server_that_is_gone_has_nothing() -> None:
    metrics = Metrics()
    there = PoolCounts(idle=1, lent=2, opening=3, waiting=4, open_breakers=1)
    metrics.take({SERVER: there}, under_way=6, lag_seconds=0.5)
    expected = {"idle": 1, "lent": 2, "opening": 3}
    for state, count in expected.items():
        assert value(metrics, "pool_sessions", {"server": SERVER, "state": state}) == count
    assert value(metrics, "pool_waiting", {"server": SERVER}) == 4
    assert value(metrics, "breakers_open", {"server": SERVER}) == 1
    assert (value(metrics, "mails_under_way"), value(metrics, "loop_lag_seconds")) == (6, 0.5)
    metrics.take({}, under_way=0, lag_seconds=0.0)
    for state in expected:
        assert value(metrics, "pool_sessions", {"server": SERVER, "state": state}) == 0
    assert (
        value(metrics, "pool_waiting", {"server": SERVER}) == value(metrics, "breakers_open", {"server": SERVER}) == 0
    )


def test_the_queue_is_as_full_as_it_was_at_the_last_look() -> None:
    metrics = Metrics()
    hook = tell(metrics.listeners())
    hook(QueueMeasured(Depth(by_state={State.QUEUED: 7, State.UNKNOWN: 1}, oldest_due_seconds=3.5)))
    hook(QueueMeasured(Depth(by_state={State.QUEUED: 5, State.UNKNOWN: 0}, oldest_due_seconds=0.0)))
    assert value(metrics, "queue_messages", {"state": "QUEUED"}) == 5
    assert value(metrics, "queue_messages", {"state": "UNKNOWN"}) == 0
    assert value(metrics, "queue_oldest_due_seconds") == 0


def test_names_say_what_they_count_and_in_which_unit() -> None:
    for family in Metrics().registry.collect():
        assert family.documentation
        assert family.name.startswith("smtpconnector_")
        assert family.type != "histogram" or family.name.endswith(("_seconds", "_round_trips"))
