from __future__ import annotations

import pytest

from smtpconnector_server.delivery.retry import MAX_ATTEMPTS, may_retry
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.reply import Reply


def failure(reason: Reason, outcome: Outcome = Outcome.NOT_SENT, reply: Reply | None = None) -> Failure:
    return Failure(reason, "x", stage=Stage.MAIL, outcome=outcome, reply=reply)


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.REJECTED])
@pytest.mark.parametrize("session_was_used", [True, False])
def test_what_may_have_been_sent_or_was_refused_is_never_tried_again(
    reason: Reason,
    outcome: Outcome,
    session_was_used: bool,
) -> None:
    assert not may_retry(failure(reason, outcome), attempt=1, session_was_used=session_was_used)


@pytest.mark.parametrize(
    ("reason", "fresh", "used"),
    [
        (Reason.SMTP_CONNECTION_LOST, True, True),
        (Reason.SMTP_TLS_TEMPORARY, True, True),
        (Reason.SMTP_PROTOCOL_ERROR, True, True),
        (Reason.SMTP_CONNECT_FAILED, False, False),
        (Reason.SMTP_CONNECT_TIMEOUT, False, False),
        (Reason.SMTP_RECIPIENT_DEFERRED, False, False),
        (Reason.DEADLINE_EXCEEDED, False, False),
        (Reason.SMTP_AUTH_FAILED, False, False),
    ],
)
def test_another_connection_is_tried_where_it_can_make_a_difference(
    reason: Reason,
    fresh: bool,
    used: bool,
) -> None:
    assert may_retry(failure(reason), attempt=1, session_was_used=False) is fresh
    assert may_retry(failure(reason), attempt=1, session_was_used=True) is used


@pytest.mark.parametrize(
    ("stage", "reply", "retried"),
    [
        (Stage.MAIL, Reply(421, "4.3.2", "closing"), True),
        (Stage.MAIL, Reply(451, "4.4.2", "Timeout waiting for data from client."), True),
        (Stage.MAIL, Reply(452, "4.5.3", "Too many messages in this session"), True),
        (Stage.MAIL, Reply(451, "4.7.0", "Slow down"), False),
        (Stage.RCPT, Reply(450, "4.7.1", "Greylisted"), False),
        (Stage.MESSAGE, Reply(451, "4.7.1", "Try again later"), False),
        (Stage.MESSAGE, Reply(421, "4.7.0", "Too many messages in this session"), False),
    ],
)
def test_a_used_session_is_replaced_only_where_the_server_speaks_of_the_session(
    stage: Stage,
    reply: Reply,
    retried: bool,
) -> None:
    said = Failure(Reason.SMTP_RATE_LIMITED, "x", stage=stage, reply=reply)
    assert may_retry(said, attempt=1, session_was_used=True) is retried
    assert not may_retry(said, attempt=1, session_was_used=False)


def test_what_a_server_said_in_words_on_a_fresh_connection_is_the_callers_to_retry() -> None:
    said = failure(Reason.SMTP_TLS_TEMPORARY, reply=Reply(454, "4.7.0", "TLS not available"))
    assert not may_retry(said, attempt=1, session_was_used=False)


def test_a_stale_session_costs_one_attempt_and_a_broken_fresh_one_another() -> None:
    lost = failure(Reason.SMTP_CONNECTION_LOST)
    assert may_retry(lost, attempt=1, session_was_used=True)
    assert not may_retry(lost, attempt=2, session_was_used=False)
    assert not may_retry(lost, attempt=MAX_ATTEMPTS, session_was_used=True)
