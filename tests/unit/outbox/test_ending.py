"""What becomes of a message after an attempt."""

from __future__ import annotations

from typing import Any

import pytest

from harness.kept import kept
from smtpconnector_server.delivery.sender import Sent
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.outbox import ending
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.store.record import Attempt
from smtpconnector_server.store.state import State

UNCERTAIN = Failure(Reason.DELIVERY_UNCERTAIN, "Lost.", stage=Stage.MESSAGE, outcome=Outcome.UNKNOWN)


def failure(reason: Reason, stage: Stage, outcome: Outcome = Outcome.NOT_SENT, **more: Any) -> Failure:
    return Failure(reason, "Why.", stage=stage, outcome=outcome, **more)


def test_a_success_keeps_what_the_server_said() -> None:
    end = ending.sent(Sent(Reply(250, "2.0.0", "Queued"), 2), "smtp.example.com")

    assert end.state is State.SENT
    assert end.attempt == Attempt(
        host="smtp.example.com", reply_code=250, reply_enhanced_code="2.0.0", reply_text="Queued", connections=2
    )


@pytest.mark.parametrize(
    ("reason", "stage", "outcome", "waited", "queued"),
    [
        (Reason.SMTP_RECIPIENT_REJECTED, Stage.RCPT, Outcome.REJECTED, State.REJECTED, State.REJECTED),
        (Reason.SMTP_SENDER_REJECTED, Stage.MAIL, Outcome.REJECTED, State.REJECTED, State.REJECTED),
        (Reason.SMTP_MESSAGE_REJECTED, Stage.MESSAGE, Outcome.REJECTED, State.REJECTED, State.REJECTED),
        (Reason.SMTP_MESSAGE_REJECTED, Stage.DATA, Outcome.REJECTED, State.REJECTED, State.REJECTED),
        (Reason.SMTP_RECIPIENT_DEFERRED, Stage.RCPT, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.SMTP_AUTH_REQUIRED, Stage.MAIL, Outcome.REJECTED, State.NOT_SENT, State.QUEUED),
        (Reason.SMTP_AUTH_FAILED, Stage.AUTH, Outcome.REJECTED, State.NOT_SENT, State.QUEUED),
        (Reason.SMTP_CONNECTION_REJECTED, Stage.GREETING, Outcome.REJECTED, State.NOT_SENT, State.QUEUED),
        (Reason.SMTP_TLS_CERTIFICATE_INVALID, Stage.TLS, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.SMTP_CONNECT_FAILED, Stage.CONNECT, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.PROFILE_NOT_FOUND, Stage.CONFIG, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.INVALID_CONFIG, Stage.CONFIG, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.STORE_UNAVAILABLE, Stage.STORE, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.INTERNAL, Stage.STORE, Outcome.NOT_SENT, State.NOT_SENT, State.QUEUED),
        (Reason.SMTP_SMTPUTF8_UNSUPPORTED, Stage.MAIL, Outcome.NOT_SENT, State.NOT_SENT, State.REJECTED),
        (Reason.SMTP_MESSAGE_TOO_LARGE, Stage.MAIL, Outcome.NOT_SENT, State.NOT_SENT, State.REJECTED),
        (Reason.EGRESS_DENIED, Stage.CONNECT, Outcome.NOT_SENT, State.NOT_SENT, State.REJECTED),
        (Reason.DELIVERY_EXPIRED, Stage.STORE, Outcome.NOT_SENT, State.EXPIRED, State.EXPIRED),
        (Reason.DELIVERY_UNCERTAIN, Stage.MESSAGE, Outcome.UNKNOWN, State.UNKNOWN, State.UNKNOWN),
    ],
)
def test_only_what_is_said_for_good_of_this_message_is_an_end(
    reason: Reason, stage: Stage, outcome: Outcome, waited: State, queued: State
) -> None:
    why = failure(reason, stage, outcome)

    assert ending.failed(why, kept(), is_waited_for=True).state is waited
    end = ending.failed(why, kept(), is_waited_for=False)
    assert end.state is queued
    assert not end.is_resend
    assert (end.attempt.reason, end.attempt.stage, end.attempt.text) == (reason, stage, "Why.")


@pytest.mark.parametrize("is_waited_for", [True, False])
def test_what_is_uncertain_is_sent_again_while_the_callers_wish_is_not_spent(*, is_waited_for: bool) -> None:
    end = ending.failed(UNCERTAIN, kept(resends_left=1), is_waited_for=is_waited_for)
    assert (end.state, end.is_resend, end.delay) == (State.QUEUED, True, 0.0)

    assert ending.failed(UNCERTAIN, kept(resends_left=0), is_waited_for=is_waited_for).state is State.UNKNOWN


def test_delays_grow_and_never_fall_below_what_the_provider_asks_for() -> None:
    def delays(deferrals: int, retry_after: float | None = None) -> list[float]:
        why = failure(Reason.SMTP_RECIPIENT_DEFERRED, Stage.RCPT, retry_after=retry_after)
        return [ending.failed(why, kept(deferrals=deferrals), is_waited_for=False).delay for _ in range(300)]

    assert max(delays(0)) <= ending.FIRST_DELAY < max(delays(3)) <= ending.FIRST_DELAY * 8
    assert ending.MAX_DELAY / 2 < max(delays(50)) <= ending.MAX_DELAY
    assert min(delays(50)) < ending.MAX_DELAY / 4  # full jitter
    assert 300.0 <= min(delays(0, 300.0)) <= max(delays(0, 300.0)) <= 300.0 + ending.FIRST_DELAY


def test_a_server_that_stops_gives_back_what_has_not_left_without_a_deferral() -> None:
    end = ending.released(is_committed=False, kept=kept())

    assert (end.state, end.counts, end.delay, end.attempt.reason) == (State.QUEUED, False, 0.0, "SHUTTING_DOWN")


def test_a_server_that_stops_says_of_what_may_have_left_that_it_is_uncertain() -> None:
    assert ending.released(is_committed=True, kept=kept()).state is State.UNKNOWN
    assert ending.released(is_committed=True, kept=kept(resends_left=1)).is_resend


@pytest.mark.parametrize(("is_committed", "outcome"), [(True, Outcome.UNKNOWN), (False, Outcome.NOT_SENT)])
def test_a_defect_says_what_is_true_of_the_message(outcome: Outcome, *, is_committed: bool) -> None:
    assert ending.broken(is_committed=is_committed).outcome is outcome


def test_a_message_whose_time_was_over_is_left_to_the_stores_sweep() -> None:
    end = ending.lapsed()

    assert (end.state, end.counts, end.delay, end.is_resend) == (State.QUEUED, False, 0.0, False)
