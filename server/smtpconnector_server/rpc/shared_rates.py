"""Rates that all servers on one store count together.

A store that does not answer must not keep mails waiting, nor stop them: whoever cannot ask it within a moment counts by
himself, and so do the others until it answers again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from smtpconnector_server.rpc.events import LimitCountedAlone, LimitsShared
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.rpc.events import CallHook
    from smtpconnector_server.rpc.rates import Rate
    from smtpconnector_server.store.sealing import Sealer
    from smtpconnector_server.store.store import Store

_ANSWER_SECONDS: Final = 0.5
"""For the store to answer a count: what a mail may lose by a store that hangs."""
_AWAY_SECONDS: Final = 1.0
"""After which a store that did not answer is asked again, by one call alone."""


class SharedRates:
    """Counts in a store.

    Args:
        store: Counts for all servers.
        sealer: Hashes what is counted.
        hook: Told when the store is lost and found again.
        within: Seconds for the store to answer.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        hook: CallHook,
        *,
        within: float = _ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._hook = hook
        self._within = within
        self._clock = clock
        self._is_away = False
        self._ask_at = 0.0
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._asking: set[asyncio.Task[float]] = set()

    def key(self, name: str, value: str) -> bytes:
        """Return what stands for a value in the store."""
        return self._sealer.hash("limit", name, value)

    async def take(self, key: bytes, rates: Sequence[Rate]) -> float | None:
        """Count one, if every rate allows it.

        Returns:
            0 if it was counted, the seconds until one may be, or None: the store could not be asked.
        """
        if self._is_away:
            now = self._clock()
            if now < self._ask_at:
                self._hook(LimitCountedAlone(error=None))
                return None
            self._ask_at = now + _AWAY_SECONDS
        turn = self._turns.setdefault(key, asyncio.Lock())  # they would only wait for each other in the store
        ends = asyncio.get_running_loop().time() + self._within
        try:
            async with asyncio.timeout_at(ends):
                await turn.acquire()
        except TimeoutError:  # too many for one key; the store goes on with those before this one
            self._hook(LimitCountedAlone(error=None))
            return None
        try:
            wait = await self._asked(key, [(rate.count, rate.seconds) for rate in rates], turn, ends)
        except (StoreError, TimeoutError) as error:
            self._lose(str(error) or "it did not answer in time")
            return None
        if self._is_away:
            self._is_away = False
            self._hook(LimitsShared())
        return wait

    async def _asked(self, key: bytes, windows: Sequence[tuple[int, float]], turn: asyncio.Lock, ends: float) -> float:
        """Ask the store, and end the turn when it has answered.

        Raises:
            StoreError: It could not be done.
            TimeoutError: There was no answer in time. It may have been counted.
        """
        # A task of its own, which is not cancelled: to give up a question can take longer than the answer.
        asking = asyncio.create_task(self._store.take(key, windows), name="shared-rate")
        self._asking.add(asking)

        def answered(_asking: asyncio.Task[float]) -> None:
            turn.release()
            self._asking.discard(asking)
            if not asking.cancelled():
                asking.exception()  # heard, if only by this

        asking.add_done_callback(answered)
        await asyncio.wait({asking}, timeout=max(0.0, ends - asyncio.get_running_loop().time()))
        if not asking.done():
            self._turns.pop(key, None)  # whoever asks later need not wait for this one
            raise TimeoutError
        return asking.result()

    def _lose(self, why: str) -> None:
        """Take note that the store could not be asked."""
        self._ask_at = self._clock() + _AWAY_SECONDS
        self._hook(LimitCountedAlone(error=None if self._is_away else why))
        self._is_away = True
