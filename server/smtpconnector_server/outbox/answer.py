"""What a caller is told of a message that the store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage, Violation
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from smtpconnector_server.store.record import Attempt, Draft, Kept

_OUTCOMES: Final = {State.REJECTED: Outcome.REJECTED, State.UNKNOWN: Outcome.UNKNOWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The message is in the store, and in this state."""

    id: str
    state: State
    message_id: str
    usage_type: str
    host: str
    reply: Reply | None
    """Of the SMTP server. None: it is not sent yet, or its end is no success."""
    connections: int


def receipt(kept: Kept) -> Receipt:
    """Return what is told of a message when its state is no failure of the call."""
    last = kept.last
    return Receipt(
        id=kept.id,
        state=kept.state,
        message_id=kept.message_id,
        usage_type=kept.usage_type,
        host=last.host,
        reply=_reply(last) if kept.state is State.SENT else None,
        connections=last.connections,
    )


def queued(draft: Draft) -> Receipt:
    """Return what is told of a message that was just put into the queue."""
    return Receipt(
        id=draft.id,
        state=State.QUEUED,
        message_id=draft.message_id,
        usage_type=draft.usage_type,
        host="",
        reply=None,
        connections=0,
    )


def final_answer(kept: Kept) -> Receipt:
    """Return the answer to a call that waited for the end of a message.

    Raises:
        Failure: It ended in any other way than SENT.
    """
    if kept.state is State.SENT:
        return receipt(kept)
    raise failed(kept)


def failed(kept: Kept, retry_after: float | None = None) -> Failure:
    """Return the failure of a message that did not end as SENT.

    Args:
        kept: The message.
        retry_after: Seconds after which a retry makes sense, for the call whose attempt it was: later they are over.
    """
    last = kept.last
    failure = Failure(
        Reason(last.reason),
        last.text,
        stage=Stage(last.stage or Stage.STORE),
        outcome=_OUTCOMES.get(kept.state, Outcome.NOT_SENT),
        reply=_reply(last),
        host=last.host,
        retry_after=retry_after,
    )
    failure.attempts = last.connections
    return failure


def expired() -> Failure:
    """Return the failure of a message whose time is over."""
    return Failure(
        Reason.DELIVERY_EXPIRED,
        "The message's expire_time passed before it was sent, and it never will be. Make a new one.",
        stage=Stage.STORE,
    )


def pending() -> Failure:
    """Return the failure of a call whose time is over while somebody else is sending its message."""
    return Failure(
        Reason.DELIVERY_PENDING,
        "The message has no end yet. Repeat the request with the same request_id, or ask DeliveryService.",
        stage=Stage.STORE,
        outcome=Outcome.UNKNOWN,
    )


def uncertain(host: str) -> Failure:
    """Return the failure of a call whose time is over after its message was sent and before the reply."""
    return Failure(
        Reason.DELIVERY_UNCERTAIN,
        "The deadline passed after the message was sent and before the server replied: it may or may not arrive.",
        stage=Stage.MESSAGE,
        outcome=Outcome.UNKNOWN,
        host=host,
    )


def half_accepted() -> Failure:
    """Return the failure of a request, without an id, that the store may or may not have taken."""
    return Failure(
        Reason.DELIVERY_UNCERTAIN,
        "The store failed, or was too slow, while it took the message: it may or may not be sent. With a request_id a"
        " repeat would be safe.",
        stage=Stage.STORE,
        outcome=Outcome.UNKNOWN,
    )


def conflict() -> Failure:
    """Return the failure of a request whose id has served for another one."""
    return Failure(
        Reason.REQUEST_ID_CONFLICT,
        "This request_id has served for another request. Give each mail one of its own.",
        stage=Stage.STORE,
        violations=(Violation("request_id", "It has served for another request. Give each mail one of its own."),),
    )


def unavailable() -> Failure:
    """Return the failure of a request that the store could not take."""
    return Failure(
        Reason.STORE_UNAVAILABLE,
        "The store cannot be reached or is full. Try again in a moment.",
        stage=Stage.STORE,
    )


def _reply(last: Attempt) -> Reply | None:
    if not last.reply_code:
        return None
    return Reply(last.reply_code, last.reply_enhanced_code, last.reply_text)
