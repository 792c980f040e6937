"""Who waits for a session of one server, and which sessions there are: decisions without I/O.

A session is lent first come first served, the one used last first; the others may grow old and close. Only a new one
goes first to whom it was opened for: who is served meanwhile leaves an opening behind that may never end. Never are
there more sessions than allowed, those being opened included. What every mail does here costs the same however many
sessions and waiters there are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smtpconnector_server.config.model import PoolLimits


class Lendable(Protocol):
    """What the slots have to know of a session."""

    messages: int

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...


_CLOSED: Final = "closed by the server"

S = TypeVar("S", bound=Lendable)
W = TypeVar("W")


@dataclass(eq=False, slots=True)
class Slot(Generic[S]):
    """The place of one session."""

    cause: object = None
    """Whoever made it necessary; the session may be lent to another."""
    session: S | None = None
    """There unless it is being opened."""
    opened_at: float = 0.0
    idle_since: float = 0.0
    leases: int = 0


class Slots(Generic[S, W]):
    """The sessions of one server and those who wait for one. Times are seconds of any one clock.

    Args:
        limits: Of sessions.
        close: Told the session that is to be closed, and why; its slot is free already.

    Attributes:
        waiting: Who waits longest comes first.
        opening: Slots whose sessions are being opened, in order.
        idle: Those whose sessions can be lent, the last used last.
        lent: Those whose sessions are lent.
    """

    def __init__(self, limits: PoolLimits, close: Callable[[S, str], None]) -> None:
        self.waiting: deque[W] = deque()
        self.opening: dict[Slot[S], None] = {}
        self.idle: dict[Slot[S], None] = {}
        self.lent: dict[Slot[S], None] = {}
        self._limits = limits
        self._close = close

    def __len__(self) -> int:
        return len(self.opening) + len(self.idle) + len(self.lent)

    def __iter__(self) -> Iterator[Slot[S]]:
        return iter([*self.opening, *self.idle, *self.lent])

    @property
    def is_unused(self) -> bool:
        """Whether nobody has, or waits for, a session."""
        return not (self.waiting or self.lent or self.opening)

    def lend(self, now: float) -> Slot[S] | None:
        """Lend a session that is fit for it. None: there is none."""
        while self.idle:
            slot, _ = self.idle.popitem()
            why = self._worn_out(slot, now)
            # Whatever the limits, what was opened for somebody is lent to somebody.
            if why and (slot.leases or why is _CLOSED):
                self._give_up(slot, why)
            else:
                slot.leases += 1
                self.lent[slot] = None
                return slot
        return None

    def take_from(self, slot: Slot[S]) -> None:
        """Undo that a session was lent: nobody was there any more to have it."""
        slot.leases -= 1
        del self.lent[slot]
        self.idle[slot] = None

    def give_back(self, slot: Slot[S], now: float) -> None:
        """Take a session back from whom it was lent to."""
        del self.lent[slot]
        slot.idle_since = now
        why = self._worn_out(slot, now)
        if why:
            self._give_up(slot, why)
        else:
            self.idle[slot] = None

    def open(self, at_most: int | None) -> list[Slot[S]]:
        """Return new slots whose sessions are to be opened: one for each who waits, within the limits.

        Args:
            at_most: How many. None: as many as the limits allow.
        """
        room = max(0, self._limits.max_connections - len(self))
        if at_most is not None:
            room = min(room, at_most)
        under_way = len(self.opening)
        opened: list[Slot[S]] = [Slot(waiter) for waiter in islice(self.waiting, under_way, under_way + room)]
        self.opening.update(dict.fromkeys(opened))
        return opened

    def fill(self, slot: Slot[S], session: S, now: float) -> None:
        """Take a session that was opened. If the one it was opened for still waits, he is the next to have it."""
        del self.opening[slot]
        slot.session = session
        slot.opened_at = slot.idle_since = now
        self.idle[slot] = None
        waiter = next((waiter for waiter in self.waiting if waiter is slot.cause), None)
        if waiter is not None:
            self.waiting.remove(waiter)
            self.waiting.appendleft(waiter)

    def remove(self, slot: Slot[S]) -> None:
        """Forget a session, if it is still known."""
        for slots in (self.opening, self.idle, self.lent):
            slots.pop(slot, None)

    def leave(self, waiter: W) -> Slot[S] | None:
        """Let somebody go who waits. Return the opening, if there is one, that nobody needs any more: his, or any."""
        if waiter not in self.waiting:
            return None
        self.waiting.remove(waiter)
        if len(self.opening) <= len(self.waiting):
            return None
        return next((slot for slot in self.opening if slot.cause == waiter), next(reversed(self.opening)))

    def close_worn_out(self, now: float) -> None:
        """Close the idle sessions whose time has come."""
        for slot in list(self.idle):
            why = self._worn_out(slot, now)
            if why:
                del self.idle[slot]
                self._give_up(slot, why)

    def close_idle(self, why: str) -> None:
        """Close all idle sessions."""
        while self.idle:
            slot, _ = self.idle.popitem()
            self._give_up(slot, why)

    def next_change(self) -> float | None:
        """Return when the next idle session wears out. None: there is none."""
        limits = self._limits
        return min(
            (min(slot.idle_since + limits.idle_seconds, slot.opened_at + limits.max_age_seconds) for slot in self.idle),
            default=None,
        )

    def _give_up(self, slot: Slot[S], why: str) -> None:
        if slot.session is not None:
            self._close(slot.session, why)

    def _worn_out(self, slot: Slot[S], now: float) -> str:
        session, limits = slot.session, self._limits
        if session is None or not session.is_open:
            return _CLOSED
        if session.messages >= limits.max_messages:
            return "enough messages"
        if now >= slot.opened_at + limits.max_age_seconds:
            return "old"
        if now >= slot.idle_since + limits.idle_seconds:
            return "idle"
        return ""
