"""Who waits for a session of one server, which sessions there are, and what to do about both: a decision without I/O.

:meth:`Slots.plan` alone moves sessions between idle and lent, first come first served; it returns what is to be lent,
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
    """What the slots have to know of a session."""

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
class Slot(Generic[S]):
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

    lend: list[tuple[W, Slot[S]]] = field(default_factory=list)
    open: list[Slot[S]] = field(default_factory=list)
    close: list[tuple[Slot[S], str]] = field(default_factory=list)
    """With the reason. Their slots are free already."""


class Slots(Generic[S, W]):
    """The sessions of one server and those who wait for one. Times are seconds of any one clock."""

    def __init__(self, limits: PoolLimits) -> None:
        self.waiting: deque[W] = deque()
        self.all: list[Slot[S]] = []
        self._limits = limits

    def count(self, status: Status) -> int:
        """Return how many sessions have a status."""
        return sum(slot.status is status for slot in self.all)

    @property
    def is_unused(self) -> bool:
        """Whether nobody has, or waits for, a session."""
        return not self.waiting and all(slot.status is Status.IDLE for slot in self.all)

    def fill(self, slot: Slot[S], session: S, now: float) -> None:
        """Take a session that was opened."""
        slot.session = session
        slot.status = Status.IDLE
        slot.opened_at = slot.idle_since = now

    def give_back(self, slot: Slot[S], now: float) -> None:
        """Take a session back from whom it was lent to."""
        slot.status = Status.IDLE
        slot.idle_since = now

    def take_from(self, slot: Slot[S]) -> None:
        """Undo that a session was lent: nobody was there any more to have it."""
        slot.status = Status.IDLE
        slot.leases -= 1

    def remove(self, slot: Slot[S]) -> None:
        """Forget a session, if it is still known."""
        if slot in self.all:
            self.all.remove(slot)

    def plan(self, now: float, *, openings: int | None) -> Plan[S, W]:
        """Decide what to do now.

        Args:
            now: The time.
            openings: How many sessions may be opened at most. None: as many as the limits allow.
        """
        plan: Plan[S, W] = Plan()
        # 1. What is worn out leaves.
        idle: list[Slot[S]] = []
        opening = 0
        for slot in self.all:
            if slot.status is Status.OPENING:
                opening += 1
            elif slot.status is Status.IDLE:
                why = self._worn_out(slot, now)
                if why:
                    plan.close.append((slot, why))
                else:
                    idle.append(slot)
        for slot, _ in plan.close:
            self.all.remove(slot)
        # 2. Whoever waits longest gets the session that was used last: the others may grow old and close.
        if self.waiting:
            idle.sort(key=lambda slot: slot.idle_since)
        while self.waiting and idle:
            slot = idle.pop()
            slot.status = Status.LENT
            slot.leases += 1
            plan.lend.append((self.waiting.popleft(), slot))
        # 3. A session is opened for each who waits still, within the limits.
        room = self._limits.max_connections - len(self.all)
        if openings is not None:
            room = min(room, openings)
        for waiter in islice(self.waiting, opening, opening + max(0, room)):
            slot = Slot(waiter)
            self.all.append(slot)
            plan.open.append(slot)
        return plan

    def leave(self, waiter: W) -> Slot[S] | None:
        """Let somebody go who waits. Return the opening, if there is one, that nobody needs any more: his, or any."""
        if waiter not in self.waiting:
            return None
        self.waiting.remove(waiter)
        openings = [slot for slot in self.all if slot.status is Status.OPENING]
        if len(openings) <= len(self.waiting):
            return None
        return next((slot for slot in openings if slot.cause == waiter), openings[-1])

    def next_change(self) -> float | None:
        """Return when the next idle session wears out. None: there is none."""
        return min(
            (
                min(slot.idle_since + self._limits.idle_seconds, slot.opened_at + self._limits.max_age_seconds)
                for slot in self.all
                if slot.status is Status.IDLE
            ),
            default=None,
        )

    def _worn_out(self, slot: Slot[S], now: float) -> str:
        session = slot.session
        if session is None or not session.is_open:
            return "closed by the server"
        if self.waiting and not slot.leases:
            return ""  # whatever the limits, what was opened for somebody is lent to somebody
        if session.messages >= self._limits.max_messages:
            return "enough messages"
        if now >= slot.opened_at + self._limits.max_age_seconds:
            return "old"
        if now >= slot.idle_since + self._limits.idle_seconds:
            return "idle"
        return ""
