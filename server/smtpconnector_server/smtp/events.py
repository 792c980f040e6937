"""What the wire tells about itself, for the telemetry room to adapt to logs and metrics.

No event holds a secret or an address of a mail. A hook returns at once and does not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from smtpconnector_server.failure import Failure, Reason, Stage
    from smtpconnector_server.smtp.capabilities import Capabilities
    from smtpconnector_server.smtp.transaction import Level

StepTime: TypeAlias = "tuple[Stage, float]"
"""A step of opening a session, and the seconds that it took."""


@value_object()
class SessionOpened:
    """A session is open and authenticated."""

    host: str
    port: int
    seconds: float
    """What it took."""
    capabilities: Capabilities
    steps: tuple[StepTime, ...]
    """The steps, in order. EHLO is there twice where STARTTLS was used."""


@value_object()
class SessionFailed:
    """A session could not be opened."""

    host: str
    port: int
    seconds: float
    failure: Failure
    steps: tuple[StepTime, ...]
    """The steps, in order; the last one is that which failed."""


@value_object()
class SessionAwaited:
    """A mail got a session, or gave up waiting for one."""

    host: str
    port: int
    seconds: float
    was_lent: bool


@value_object()
class TransactionEnded:
    """A mail was tried on a session."""

    host: str
    port: int
    level: Level
    """The one that it ended at."""
    round_trips: int
    seconds: float
    failure: Failure | None
    """None: the server accepted the mail."""


@value_object()
class SessionClosed:
    """A session ended."""

    host: str
    port: int
    why: str
    """A clause of ours, of a small set."""
    messages: int
    """Mails tried on it."""


@value_object()
class SteppedDown:
    """A server showed that it does not cope with a level and gets a lower one for a day."""

    host: str
    port: int
    level: Level
    lowered: Level
    why: str


@value_object()
class BreakerOpened:
    """After repeated failures nothing is opened for a while."""

    host: str
    port: int
    seconds: float
    failure: Failure
    """The last one."""


@value_object()
class BreakerClosed:
    """The server works again."""

    host: str
    port: int


@value_object()
class PauseHeard:
    """Another process of this service has begun a pause, which is kept here as well."""

    host: str
    port: int
    seconds: float
    """As far as it is kept here."""
    reason: Reason


@value_object()
class TokenRenewed:
    """A token end point was asked for an OAuth 2.0 access token."""

    token_url: str
    seconds: float
    failure: Failure | None
    """None: it gave one."""


@value_object()
class LineSaid:
    """A line was said on a connection whose configuration asks for a transcript."""

    host: str
    port: int
    connection: int
    """A number of its own in this process."""
    speaker: str
    """``client``, which is us, or ``server``."""
    line: str
    """Without secrets, addresses, and what is in mails."""


WireEvent: TypeAlias = (
    SessionOpened
    | SessionFailed
    | SessionAwaited
    | TransactionEnded
    | SessionClosed
    | SteppedDown
    | BreakerOpened
    | BreakerClosed
    | PauseHeard
    | TokenRenewed
    | LineSaid
)
WireHook: TypeAlias = Callable[[WireEvent], None]


def tell_nobody(_event: WireEvent) -> None:
    """Ignore an event: the hook for those who need none."""
