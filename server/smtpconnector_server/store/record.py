"""What goes into the store and what comes out of it: plain values that both engines share.

Times are seconds since the epoch by the store's own clock. No value here holds an address, a payload or a text in the
clear: the content is sealed, and what must be found again is a keyed hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpconnector_server.store.state import Mode, State, UncertainPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A message's content, encrypted under a key of its own, which is encrypted under a master key."""

    key_id: str
    """Of the master key."""
    wrapped_key: bytes = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message to be accepted."""

    id: str
    """Unique and unguessable; ids that are made later sort later."""
    caller: str
    lane: str
    """What shares its turns fairly with other lanes: a profile, or a caller who brings configurations."""
    profile: str | None
    usage_type: str
    message_id: str
    mode: Mode
    policy: UncertainPolicy
    expires_at: float | None
    """The end of its usefulness that its caller has set. None: ``expires_in`` seconds from now by the store's clock."""
    expires_in: float = 0.0
    lapses_to: State
    """What it becomes if it is unsent by then: EXPIRED, or NOT_SENT where only the waiting call's deadline passes."""
    request_hash: bytes | None
    """Of caller and request id. None: it can not be asked for by one."""
    fingerprint: bytes | None
    """Of all that makes the request this request; with ``request_hash``."""
    supersede_hash: bytes | None
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class Change:
    """One change of state."""

    cursor: int
    """Its place among those of the message, from 1."""
    state: State
    at: float
    reason: str
    """A :class:`~smtpconnector_server.failure.Reason`, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How the newest attempt ended, as far as it is told to anybody."""

    host: str = ""
    reason: str = ""
    """A :class:`~smtpconnector_server.failure.Reason`; empty: it succeeded."""
    stage: str = ""
    text: str = ""
    """For the caller: no secret, no personal data."""
    reply_code: int = 0
    """0: the SMTP server said nothing."""
    reply_enhanced_code: str = ""
    reply_text: str = ""
    connections: int = 0
    """How many were tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A message as the store has it."""

    id: str
    caller: str
    lane: str
    profile: str | None
    usage_type: str
    message_id: str
    mode: Mode
    policy: UncertainPolicy
    state: State
    is_committed: bool
    """Whether its last octet may have left in the newest attempt."""
    attempt: int
    """How many times it was taken up for sending; the fence: only the newest may change anything."""
    may_have_arrived: bool
    """Whether an attempt before the newest may have arrived, and it was sent again all the same. Its end is then SENT
    or UNKNOWN, whatever the newest attempt says: that it was not sent can not be said any more."""
    deferrals: int
    """How many attempts in a row ended with another to come."""
    resends_left: int
    created_at: float
    updated_at: float
    due_at: float
    """Not before when it is taken up; for QUEUED."""
    expires_at: float
    fingerprint: bytes | None
    last: Attempt
    history: tuple[Change, ...]
    is_held: bool
    """Whether an operator can have it sent again: it is UNKNOWN and its content is still there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send a message, until somebody else is given it."""

    kept: Kept
    sealed: Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended, and what becomes of the message."""

    state: State
    """SENT, REJECTED, NOT_SENT, UNKNOWN or EXPIRED; QUEUED for one more attempt."""
    attempt: Attempt
    delay: float = 0.0
    """For QUEUED: seconds until the next attempt."""
    is_resend: bool = False
    """For QUEUED: whether the one resend of :attr:`UncertainPolicy.RESEND` is spent by it."""
    counts: bool = True
    """For QUEUED: whether it is a deferral, which lengthens the next delay; False for a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a look at the whole store has changed, in messages."""

    requeued: int = 0
    """Taken from servers that are gone, before their last octet."""
    resent: int = 0
    """The same after it, by the caller's wish."""
    uncertain: int = 0
    """The same after it: UNKNOWN now."""
    lapsed: int = 0
    """Their time was over before they were sent."""
    purged: int = 0
    """Forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which messages to list. None, or empty, is no condition."""

    caller: str | None = None
    states: tuple[State, ...] = ()
    profile: str | None = None
    created_from: float | None = None
    created_before: float | None = None
    before_id: str | None = None
    """Only messages with smaller ids: the next page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How full the queue is."""

    by_state: dict[State, int]
    """Of the states that are not final, and UNKNOWN ones that are held."""
    oldest_due_seconds: float
    """How long the first of the queue has waited since it was due; 0 for none."""
