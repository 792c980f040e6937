"""What the outbox tells about messages, for the telemetry room to adapt to logs, metrics and traces.

No event holds a secret or an address of a mail. A hook returns at once and does not raise. What is told of an attempt
is told in its task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from smtpconnector_server.failure import Reason
from smtpconnector_server.store.state import State
from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from smtpconnector_server.store.record import Attempt, Depth, Ending, Kept, Swept
    from smtpconnector_server.store.state import Mode


@value_object()
class MessageAccepted:
    """The store has a message, or has one again that had not been sent."""

    delivery_id: str
    profile: str | None
    """Whose configuration sends it. None: one that came with the call."""
    mode: Mode


@value_object()
class AttemptStarted:
    """A message is about to be sent."""

    delivery_id: str
    number: int
    """From 1."""
    is_taken_over: bool
    """Whether the server that had it in hand before has ended, or was thought to."""


@value_object()
class MessageDeferred:
    """An attempt ended with another one to come."""

    delivery_id: str
    profile: str | None
    number: int
    """Of the attempt, from 1."""
    attempt: Attempt
    """What is kept of it. Without a reason its time was over at the last moment."""
    delay: float
    """Seconds."""


@value_object()
class MessageEnded:
    """A message has come to its end by an attempt."""

    delivery_id: str
    profile: str | None
    mode: Mode
    number: int
    """Of the attempt, from 1."""
    attempt: Attempt
    state: State
    seconds: float
    """Since it was accepted."""


@value_object()
class ClaimLost:
    """An attempt was stopped because somebody else has decided what becomes of the message."""

    delivery_id: str
    number: int
    """Of the attempt, from 1."""
    state: State | None
    """What the message is now. None: not known."""


@value_object()
class StoreSwept:
    """What time had made due in the store was done."""

    swept: Swept


@value_object()
class QueueMeasured:
    """The queue was looked at."""

    depth: Depth


OutboxEvent: TypeAlias = (
    MessageAccepted | AttemptStarted | MessageDeferred | MessageEnded | ClaimLost | StoreSwept | QueueMeasured
)
OutboxHook: TypeAlias = Callable[[OutboxEvent], None]


def tell_nobody(_event: OutboxEvent) -> None:
    """Ignore an event: the hook for those who need none."""


def started(kept: Kept) -> AttemptStarted:
    """Return what is told of an attempt at its start."""
    before = kept.history[-3:-1]
    # Whoever gives a message back says why; the store, which takes it from a server that is gone, does not.
    is_taken_over = [change.state for change in before] == [State.SENDING, State.QUEUED] and not before[-1].reason
    return AttemptStarted(kept.id, kept.attempt, is_taken_over)


def ended(kept: Kept, ending: Ending, seconds: float) -> MessageDeferred | MessageEnded:
    """Return what is told of an attempt that has ended.

    Args:
        kept: The message as it was when it was taken up.
        ending: The end that the store has taken.
        seconds: Since then.
    """
    if ending.state is State.QUEUED:
        return MessageDeferred(kept.id, kept.profile, kept.attempt, ending.attempt, ending.delay)
    state, attempt = ending.state, ending.attempt
    if kept.may_have_arrived and state is not State.SENT:
        state, attempt = State.UNKNOWN, replace(attempt, reason=Reason.DELIVERY_UNCERTAIN)
    waited = kept.updated_at - kept.created_at  # both by the store's clock, which may not be ours
    return MessageEnded(kept.id, kept.profile, kept.mode, kept.attempt, attempt, state, max(0.0, waited) + seconds)


def lost(kept: Kept, newer: Kept | None) -> ClaimLost:
    """Return what is told of an attempt whose message somebody else has decided about."""
    return ClaimLost(kept.id, kept.attempt, newer.state if newer is not None else None)
