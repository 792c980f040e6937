"""What the edge tells about calls, for the telemetry room to adapt to logs, metrics and traces.

A hook returns at once and does not raise. It runs in the task of the call, so that context variables which it sets are
there for all that the call does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, TypeAlias

from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.failure import Failure


@value_object()
class CallStarted:
    """A call has come in."""

    method: str
    metadata: Iterable[tuple[str, str | bytes]] = field(repr=False)
    """As the caller sent it, his token included."""
    service: str
    """Its full name."""


@value_object()
class CallEnded:
    """A call has its answer, or its caller has gone."""

    method: str
    code: str
    """The name of its status code."""
    failure: Failure | None
    """None: it succeeded, or the caller cancelled it."""
    seconds: float


@value_object()
class MailComposed:
    """A call asks for a mail that can be made."""

    composed: Composed = field(repr=False)
    seconds: float
    """What making it took."""


@value_object()
class LimitCountedAlone:
    """A mail was counted against a limit by this process alone, because the store could not be asked in time."""

    error: str | None
    """Why, the first time; None while that goes on."""


@value_object()
class LimitsShared:
    """The store counts against the limits again."""


CallEvent: TypeAlias = CallStarted | CallEnded | MailComposed | LimitCountedAlone | LimitsShared
CallHook: TypeAlias = Callable[[CallEvent], None]
