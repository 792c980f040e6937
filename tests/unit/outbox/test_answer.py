"""What a caller is told of a message that the store keeps."""

from __future__ import annotations

import pytest

from harness.kept import kept
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.outbox import answer
from smtpconnector_server.rpc.status import to_status
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.store.record import Attempt
from smtpconnector_server.store.state import State

SENT = Attempt(host="smtp.example.com", reply_code=250, reply_enhanced_code="2.0.0", reply_text="Queued", connections=2)


def test_a_message_that_was_sent_is_told_with_the_reply() -> None:
    told = answer.final_answer(kept(state=State.SENT, last=SENT))

    assert (told.state, told.host, told.reply, told.connections) == (
        State.SENT,
        "smtp.example.com",
        Reply(250, "2.0.0", "Queued"),
        2,
    )


@pytest.mark.parametrize("state", [State.QUEUED, State.SENDING, State.REJECTED, State.UNKNOWN, State.EXPIRED])
def test_a_reply_is_told_as_the_answer_of_a_success_only(state: State) -> None:
    assert answer.receipt(kept(state=state, last=SENT)).reply is None


@pytest.mark.parametrize(
    ("state", "reason", "outcome"),
    [
        (State.REJECTED, Reason.SMTP_RECIPIENT_REJECTED, Outcome.REJECTED),
        (State.NOT_SENT, Reason.SMTP_CONNECT_FAILED, Outcome.NOT_SENT),
        (State.UNKNOWN, Reason.DELIVERY_UNCERTAIN, Outcome.UNKNOWN),
        (State.EXPIRED, Reason.DELIVERY_EXPIRED, Outcome.NOT_SENT),
        (State.CANCELLED, Reason.DELIVERY_CANCELLED, Outcome.NOT_SENT),
        (State.SUPERSEDED, Reason.DELIVERY_SUPERSEDED, Outcome.NOT_SENT),
    ],
)
@pytest.mark.parametrize("stage", ["", "RCPT"])  # one that never had an attempt has none
def test_every_other_end_is_told_with_what_is_true_of_the_message(
    state: State, reason: Reason, outcome: Outcome, stage: str
) -> None:
    last = Attempt(reason=reason, stage=stage, text="Why.", reply_code=550, reply_text="No", connections=3)
    with pytest.raises(Failure) as raised:
        answer.final_answer(kept(state=state, last=last))
    failure = raised.value

    assert (failure.reason, failure.message, failure.outcome) == (reason, "Why.", outcome)
    assert failure.stage is Stage(stage or "STORE")
    assert (failure.reply, failure.attempts) == (Reply(550, "", "No"), 3)
    assert to_status(failure).details


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (answer.expired(), Outcome.NOT_SENT),
        (answer.unavailable(), Outcome.NOT_SENT),
        (answer.conflict(), Outcome.NOT_SENT),
        (answer.pending(), Outcome.UNKNOWN),
        (answer.half_accepted(), Outcome.UNKNOWN),
        (answer.uncertain("smtp.example.com"), Outcome.UNKNOWN),
    ],
)
def test_what_is_not_known_is_not_said(failure: Failure, outcome: Outcome) -> None:
    assert failure.outcome is outcome
