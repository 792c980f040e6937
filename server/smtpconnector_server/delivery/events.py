"""What delivery tells about mails, for the telemetry room to adapt to logs, metrics and traces.

No event holds a secret or an address of a mail. A hook returns at once and does not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from smtpconnector_server.failure import Failure

SENT: Final = "SENT"
"""The outcome beside those of :class:`.failure.Outcome`: the SMTP server accepted the mail."""


@value_object()
class MailEnded:
    """A mail has the outcome that its caller is told."""

    profile: str | None
    """Whose configuration sent it. None: one that came with the call."""
    failure: Failure | None
    """None: the SMTP server accepted it."""
    attempts: int
    """Connections tried."""
    seconds: float


@value_object()
class MailSettled:
    """A mail came to its end after its caller had been told that its outcome is unknown."""

    profile: str | None
    host: str
    outcome: str
    """SENT, NOT_SENT, REJECTED or still UNKNOWN."""


DeliveryEvent: TypeAlias = MailEnded | MailSettled
DeliveryHook: TypeAlias = Callable[[DeliveryEvent], None]
