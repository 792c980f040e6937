"""What a request asks of the outbox, beside the mail itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpconnector_server.store.state import Mode, UncertainPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smtpconnector_server.config.source import Source
    from smtpconnector_server.delivery.composition import Composed


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a mail is to be delivered."""

    request_id: str = field(default="", repr=False)
    """Empty: repeats are not recognised."""
    mode: Mode = Mode.WAIT
    expires_at: float | None = None
    """Seconds since the epoch. None: the default of the mode."""
    supersede_key: str = field(default="", repr=False)
    policy: UncertainPolicy = UncertainPolicy.HOLD

    @property
    def needs_store(self) -> bool:
        """Whether only a server with a store can keep what it asks for."""
        return bool(
            self.request_id or self.supersede_key or self.mode is Mode.ENQUEUE or self.policy is UncertainPolicy.RESEND
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One request for a mail that the store is to keep."""

    order: Order
    caller: str
    source: Source
    content: bytes = field(repr=False)
    """All that makes this request this request: another one with the same request id differs in it."""
    compose: Callable[[str | None], Awaitable[Composed]]
    """Makes the mail, with a Message-ID of its own (None) or with one that it had before."""
    admit: Callable[[], Awaitable[None]]
    """Counts it against the operator's limits, once, or raises; not called for a repeat."""

    @property
    def lane(self) -> str:
        """What it shares its turns with: its profile, or its caller's own configurations."""
        return f"profile:{self.source.profile}" if self.source.profile is not None else f"caller:{self.caller}"
