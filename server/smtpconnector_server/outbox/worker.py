"""The worker of one server: takes due messages out of the queue, lane by lane, and does what time makes due.

Lanes take turns, and each has only so many messages under way: one slow provider does not keep the mails of the others
waiting. Hints make it quick, looking again makes it sure; several servers work side by side and need not know of each
other.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.outbox.events import QueueMeasured, StoreSwept, tell_nobody
from smtpconnector_server.outbox.lease import BEAT_SECONDS
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.outbox.events import OutboxHook
    from smtpconnector_server.outbox.lease import Lease, Leases
    from smtpconnector_server.outbox.runner import Run, Runner
    from smtpconnector_server.store.record import Claim
    from smtpconnector_server.store.store import Store

MAX_UNDER_WAY: Final = 1000
"""Messages of the queue that one server has in hand at once."""
MAX_UNDER_WAY_IN_LANE: Final = 50
_AT_ONCE: Final = 20
"""Messages claimed of one lane before the next lane has its turn."""
_LANES: Final = 100
_LOOK_AGAIN_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 1.0
_MEASURE_SECONDS: Final = 5.0
"""Between two looks at how full the queue is, which count all that is in it."""
_SWEPT_AT_ONCE: Final = 500
_STOP_SECONDS: Final = 3.0
"""For the store to answer to a last claim."""

_log = structlog.get_logger()


class Worker:
    """Sends what the store keeps.

    Args:
        store: The store.
        runner: Makes the attempts.
        leases: The names under which this server claims.
        retention: Seconds that the end of a message is remembered.
        hook: Told what each sweep has changed, and how full the queue is.
    """

    def __init__(
        self,
        store: Store,
        runner: Runner,
        leases: Leases,
        *,
        retention: float,
        hook: OutboxHook = tell_nobody,
    ) -> None:
        self._store = store
        self._runner = runner
        self._leases = leases
        self._retention = retention
        self._hook = hook
        self._measure_at = 0.0
        self._in_lane: Counter[str] = Counter()
        self._backlogged: set[str] = set()
        """Lanes with messages that wait for their turn: nobody goes before them."""
        self._hint = asyncio.Event()
        self._is_draining = False
        self._claiming: asyncio.Task[None] | None = None
        self._keeping: list[asyncio.Task[None]] = []
        store.on_change(self._on_change)

    async def start(self) -> None:
        """Begin to work.

        Raises:
            StoreError: The store cannot be reached.
        """
        await self._leases.current()
        self._claiming = asyncio.create_task(self._repeat(self._claim, self._hinted, stops=True), name="outbox-claim")
        self._keeping = [
            asyncio.create_task(
                self._repeat(self._leases.renew, partial(asyncio.sleep, BEAT_SECONDS)), name="outbox-lease"
            ),
            asyncio.create_task(
                self._repeat(self._sweep, partial(asyncio.sleep, _SWEEP_SECONDS), stops=True), name="outbox-sweep"
            ),
        ]

    @contextmanager
    def place(self, lane: str) -> Iterator[bool]:
        """Keep a place in a lane inside the context, for a message that is being accepted to be sent at once.

        Yields:
            Whether there is one: there is room, and nobody has waited longer.
        """
        has_room = not self._is_draining and lane not in self._backlogged and self._room(lane) > 0
        if not has_room:
            yield False
            return
        self._in_lane[lane] += 1
        try:
            yield True
        finally:
            self._leave(lane)

    def begin(
        self,
        claim: Claim,
        lease: Lease,
        *,
        composed: Composed | None = None,
        on_commit: Callable[[], Awaitable[None]] | None = None,
    ) -> Run:
        """Make an attempt; see :meth:`.Runner.start`. One that a call waits for does not count against the lane."""
        lane = claim.kept.lane if on_commit is None else ""
        self._in_lane[lane] += 1
        lease.attempts += 1

        def ended() -> None:
            lease.attempts -= 1
            self._leave(lane)

        return self._runner.start(claim, lease, composed=composed, on_commit=on_commit, then=ended)

    def stop_claiming(self) -> None:
        """Take nothing more out of the queue."""
        self._is_draining = True
        self._hint.set()

    async def drain(self, within: float) -> None:
        """Let what is under way end for some seconds, then give back the rest."""
        self.stop_claiming()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._runner.drain()
        if self._claiming is not None:
            await asyncio.wait({self._claiming}, timeout=_STOP_SECONDS)  # what it has claimed is given back too
            self._keeping.append(self._claiming)
        await self._runner.release()
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self._leases.end()

    def _leave(self, lane: str) -> None:
        self._in_lane[lane] -= 1
        if not self._in_lane[lane]:
            del self._in_lane[lane]
        if self._backlogged and self._room(lane) >= _AT_ONCE:  # one by one, each would cost two looks into the store
            self._hint.set()

    def _room(self, lane: str) -> int:
        everywhere = self._in_lane.total() - self._in_lane[""]
        return min(MAX_UNDER_WAY - everywhere, MAX_UNDER_WAY_IN_LANE - self._in_lane[lane])

    def _on_change(self, delivery_id: str) -> None:
        if not delivery_id:
            self._hint.set()

    async def _hinted(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                await self._hint.wait()
        self._hint.clear()

    async def _repeat(
        self, work: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]], *, stops: bool = False
    ) -> None:
        doing = work.__name__.strip("_")
        while not (stops and self._is_draining):
            try:
                await work()
            except StoreError as error:
                _log.warning("store_failed", doing=doing, error=str(error))
            except Exception as error:  # noqa: BLE001 - whatever it is, the queue has to go on
                _log.error("outbox_broke", doing=doing, error_type=type(error).__qualname__)
            await pause()

    async def _claim(self) -> None:
        """Claim all that there is room for."""
        while not self._is_draining:
            lanes = await self._store.due_lanes(limit=_LANES)
            self._backlogged = {lane for lane in lanes if self._room(lane) <= 0}
            claimed = 0
            for lane in lanes:
                claimed += await self._claim_of(lane)
            if not claimed:
                return

    async def _claim_of(self, lane: str) -> int:
        count = min(self._room(lane), _AT_ONCE)
        if count <= 0 or self._is_draining:
            return 0
        lease = await self._leases.current()
        try:
            claims = await self._store.claim(lease.owner, lane, count=count)
        except StoreError as error:
            if not error.is_certain:
                self._leases.retire()
            raise
        for claim in claims:
            self.begin(claim, lease)
        return len(claims)

    async def _sweep(self) -> None:
        """Look at the whole store, again at once while there is more to do than one look takes."""
        await self._leases.current()
        is_more = self._leases.may_judge
        while is_more and not self._is_draining:
            swept = await self._store.sweep(retention=self._retention, limit=_SWEPT_AT_ONCE)
            self._hook(StoreSwept(swept))
            taken_over = swept.requeued + swept.resent + swept.uncertain
            is_more = max(taken_over, swept.lapsed, swept.purged) >= _SWEPT_AT_ONCE
        if time.monotonic() >= self._measure_at:
            self._measure_at = time.monotonic() + _MEASURE_SECONDS
            self._hook(QueueMeasured(await self._store.depth()))
