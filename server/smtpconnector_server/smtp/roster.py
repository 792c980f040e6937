"""Who waits for a session of one server, which sessions there are, and what to do about both: a decision without I/O.

:meth:`Roster.plan` alone moves sessions between idle and lent, first come first served; it returns what is to be lent,
opened and closed, and the pool does it. Never are there more sessions than allowed, those being opened included.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from smtpconnector_server.config.model import PoolLimits


class Lendable(Protocol):
    """What a roster has to know of a session."""

    messages: int

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...


S = TypeVar("S", bound=Lendable)
W = TypeVar("W")


class Status(Enum):
    """What becomes of a session."""

    OPENING = auto()
    IDLE = auto()
    LENT = auto()


@dataclass(eq=False, slots=True)
class Berth(Generic[S]):
    """The place of one session."""

    cause: object = None
    """Whoever made it necessary; the session may be lent to another."""
    status: Status = Status.OPENING
    session: S | None = None
    """There unless it is being opened."""
    opened_at: float = 0.0
    idle_since: float = 0.0
    leases: int = 0


@dataclass(slots=True)
class Plan(Generic[S, W]):
    """What is to be done."""

    lend: list[tuple[W, Berth[S]]] = field(default_factory=list)
    open: list[Berth[S]] = field(default_factory=list)
    close: list[tuple[Berth[S], str]] = field(default_factory=list)
    """With the reason. They are off the roster already."""


class Roster(Generic[S, W]):
    """The sessions of one server and those who wait for one. Times are seconds of any one clock."""

    def __init__(self, limits: PoolLimits) -> None:
        self.waiting: deque[W] = deque()
        self.berths: list[Berth[S]] = []
        self._limits = limits

    def count(self, status: Status) -> int:
        """Return how many sessions have a status."""
        return sum(berth.status is status for berth in self.berths)

    @property
    def is_unused(self) -> bool:
        """Whether nobody has, or waits for, a session."""
        return not self.waiting and all(berth.status is Status.IDLE for berth in self.berths)

    def moor(self, berth: Berth[S], session: S, now: float) -> None:
        """Take a session that was opened."""
        berth.session = session
        berth.status = Status.IDLE
        berth.opened_at = berth.idle_since = now

    def give_back(self, berth: Berth[S], now: float) -> None:
        """Take a session back from whom it was lent to."""
        berth.status = Status.IDLE
        berth.idle_since = now

    def take_from(self, berth: Berth[S]) -> None:
        """Undo that a session was lent: nobody was there any more to have it."""
        berth.status = Status.IDLE
        berth.leases -= 1

    def strike(self, berth: Berth[S]) -> None:
        """Forget a session, if it is still known."""
        if berth in self.berths:
            self.berths.remove(berth)

    def plan(self, now: float, *, openings: int | None) -> Plan[S, W]:
        """Decide what to do now.

        Args:
            now: The time.
            openings: How many sessions may be opened at most. None: as many as the limits allow.
        """
        plan: Plan[S, W] = Plan()
        # 1. What is worn out leaves.
        idle: list[Berth[S]] = []
        opening = 0
        for berth in self.berths:
            if berth.status is Status.OPENING:
                opening += 1
            elif berth.status is Status.IDLE:
                why = self._worn_out(berth, now)
                if why:
                    plan.close.append((berth, why))
                else:
                    idle.append(berth)
        for berth, _ in plan.close:
            self.berths.remove(berth)
        # 2. Whoever waits longest gets the session that was used last: the others may grow old and close.
        if self.waiting:
            idle.sort(key=lambda berth: berth.idle_since)
        while self.waiting and idle:
            berth = idle.pop()
            berth.status = Status.LENT
            berth.leases += 1
            plan.lend.append((self.waiting.popleft(), berth))
        # 3. A session is opened for each who waits still, within the limits.
        room = self._limits.max_connections - len(self.berths)
        if openings is not None:
            room = min(room, openings)
        for waiter in islice(self.waiting, opening, opening + max(0, room)):
            berth = Berth(waiter)
            self.berths.append(berth)
            plan.open.append(berth)
        return plan

    def leave(self, waiter: W) -> Berth[S] | None:
        """Let somebody go who waits. Return the opening, if there is one, that nobody needs any more: his, or any."""
        if waiter not in self.waiting:
            return None
        self.waiting.remove(waiter)
        openings = [berth for berth in self.berths if berth.status is Status.OPENING]
        if len(openings) <= len(self.waiting):
            return None
        return next((berth for berth in openings if berth.cause == waiter), openings[-1])

    def next_change(self) -> float | None:
        """Return when the next idle session wears out. None: there is none."""
        return min(
            (
                min(berth.idle_since + self._limits.idle_seconds, berth.opened_at + self._limits.max_age_seconds)
                for berth in self.berths
                if berth.status is Status.IDLE
            ),
            default=None,
        )

    def _worn_out(self, berth: Berth[S], now: float) -> str:
        session = berth.session
        if session is None or not session.is_open:
            return "closed by the server"
        if self.waiting and not berth.leases:
            return ""  # whatever the limits, what was opened for somebody is lent to somebody
        if session.messages >= self._limits.max_messages:
            return "enough messages"
        if now >= berth.opened_at + self._limits.max_age_seconds:
            return "old"
        if now >= berth.idle_since + self._limits.idle_seconds:
            return "idle"
        return ""
