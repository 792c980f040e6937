"""What is told of an attempt: a message that may have arrived before never ends as not sent."""

from __future__ import annotations

from typing import Any

import pytest

from smtpconnector_server.outbox import events
from smtpconnector_server.outbox.events import MessageDeferred, MessageEnded
from smtpconnector_server.store.record import Attempt, Change, Ending, Kept
from smtpconnector_server.store.state import Mode, State, UncertainPolicy

REFUSED = Attempt(reason="SMTP_RECIPIENT_REJECTED", stage="RCPT")


def kept(**changes: Any) -> Kept:
    fields: dict[str, Any] = {
        "id": "d1",
        "caller": "shop",
        "lane": "profile:shop",
        "profile": "shop",
        "usage_type": "SignIn",
        "message_id": "<1@mail.example>",
        "mode": Mode.ENQUEUE,
        "policy": UncertainPolicy.HOLD,
        "state": State.SENDING,
        "is_committed": False,
        "attempt": 2,
        "may_have_arrived": False,
        "deferrals": 0,
        "resends_left": 0,
        "created_at": 100.0,
        "updated_at": 100.0,
        "due_at": 100.0,
        "expires_at": 200.0,
        "fingerprint": None,
        "last": Attempt(),
        "history": (),
        "is_held": False,
    }
    return Kept(**fields | changes)


def history(*changes: tuple[State, str]) -> tuple[Change, ...]:
    return tuple(Change(cursor, state, 100.0, reason) for cursor, (state, reason) in enumerate(changes, 1))


@pytest.mark.parametrize(
    ("changes", "is_taken_over"),
    [
        ([(State.SENDING, "")], False),
        ([(State.QUEUED, ""), (State.SENDING, "")], False),
        ([(State.SENDING, ""), (State.QUEUED, ""), (State.SENDING, "")], True),
        ([(State.SENDING, ""), (State.QUEUED, "SMTP_CONNECT_FAILED"), (State.SENDING, "")], False),
        ([(State.SENDING, ""), (State.QUEUED, "SHUTTING_DOWN"), (State.SENDING, "")], False),
        ([(State.UNKNOWN, "DELIVERY_UNCERTAIN"), (State.QUEUED, ""), (State.SENDING, "")], False),
    ],
)
def test_a_message_that_a_server_never_gave_back_was_taken_over(
    changes: list[tuple[State, str]], is_taken_over: bool
) -> None:
    assert events.started(kept(history=history(*changes))).is_taken_over is is_taken_over


def test_an_attempt_with_another_to_come_is_a_deferral() -> None:
    end = Ending(state=State.QUEUED, attempt=REFUSED, delay=3.0)
    assert events.ended(kept(), end, 3.0) == MessageDeferred("d1", "shop", 2, REFUSED, 3.0)


def test_the_time_of_a_message_runs_from_its_acceptance() -> None:
    end = Ending(state=State.REJECTED, attempt=REFUSED)
    assert events.ended(kept(updated_at=107.0), end, 3.0) == MessageEnded(
        "d1", "shop", Mode.ENQUEUE, 2, REFUSED, State.REJECTED, 10.0
    )
    told = events.ended(kept(updated_at=90.0), end, 3.0)  # the store's clock was set back
    assert isinstance(told, MessageEnded)
    assert told.seconds == 3.0


@pytest.mark.parametrize("state", [State.REJECTED, State.NOT_SENT, State.EXPIRED, State.UNKNOWN])
def test_what_may_have_arrived_before_is_unknown_whatever_the_last_attempt_says(state: State) -> None:
    told = events.ended(kept(may_have_arrived=True), Ending(state=state, attempt=REFUSED), 3.0)
    assert isinstance(told, MessageEnded)
    assert (told.state, told.attempt.reason) == (State.UNKNOWN, "DELIVERY_UNCERTAIN")


def test_what_may_have_arrived_before_and_is_accepted_now_is_sent() -> None:
    told = events.ended(kept(may_have_arrived=True), Ending(state=State.SENT, attempt=Attempt()), 3.0)
    assert isinstance(told, MessageEnded)
    assert (told.state, told.attempt.reason) == (State.SENT, "")
