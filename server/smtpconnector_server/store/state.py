"""The states of a kept message, and which may follow which: the law that both engines obey.

Final states stay, with three exceptions that make an answer truer or are somebody's decision: an UNKNOWN message may
turn out to be SENT, REJECTED or never to have left; an operator may queue it again; and a message whose waiting call
ended with NOT_SENT is taken up again when the same request comes again, or is SUPERSEDED if a newer one came meanwhile.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """How far a message has come. The contract's ``DeliveryState`` has the same names."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    REJECTED = "REJECTED"
    NOT_SENT = "NOT_SENT"
    UNKNOWN = "UNKNOWN"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self not in {State.QUEUED, State.SENDING}


class Mode(StrEnum):
    """What the answer to the request waits for. The contract's ``DeliveryMode`` has the same names."""

    WAIT = "WAIT"
    ENQUEUE = "ENQUEUE"


class UncertainPolicy(StrEnum):
    """What becomes of a message that may or may not have arrived. The contract's enum has the same names."""

    HOLD = "HOLD"
    RESEND = "RESEND"


MOVES: Final[frozenset[tuple[State | None, State]]] = frozenset(
    {
        (None, State.QUEUED),
        (None, State.SENDING),  # accepted by a server that begins at once
        (State.QUEUED, State.SENDING),
        (State.QUEUED, State.NOT_SENT),  # its waiting call's deadline passed while nobody had it in hand
        (State.QUEUED, State.EXPIRED),
        (State.QUEUED, State.CANCELLED),
        (State.QUEUED, State.SUPERSEDED),
        (State.QUEUED, State.UNKNOWN),  # one of the four above, but an earlier attempt may have arrived
        (State.SENDING, State.QUEUED),  # deferred, released, taken over, or resent once
        (State.SENDING, State.SENT),
        (State.SENDING, State.REJECTED),
        (State.SENDING, State.NOT_SENT),
        (State.SENDING, State.UNKNOWN),
        (State.SENDING, State.EXPIRED),
        (State.SENDING, State.CANCELLED),
        (State.SENDING, State.SUPERSEDED),
        (State.UNKNOWN, State.SENT),
        (State.UNKNOWN, State.REJECTED),
        (State.UNKNOWN, State.QUEUED),
        (State.NOT_SENT, State.SENDING),
        (State.NOT_SENT, State.SUPERSEDED),
    }
)
"""Every change of state that there is; None is a message that the store does not have yet."""
