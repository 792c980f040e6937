"""How many sessions there are, and how many mails wait for one, at a moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """The counts of a server, or of several together."""

    idle: int = 0
    lent: int = 0
    opening: int = 0
    waiting: int = 0
    """Mails without a session."""
    open_breakers: int = 0
    """Servers, each with its credentials, at which none is opened for a while."""

    def __add__(self, other: PoolCounts) -> PoolCounts:
        return PoolCounts(
            idle=self.idle + other.idle,
            lent=self.lent + other.lent,
            opening=self.opening + other.opening,
            waiting=self.waiting + other.waiting,
            open_breakers=self.open_breakers + other.open_breakers,
        )
