"""Rates that all servers on one store count together.

A store that does not answer must not keep mails waiting, nor stop them: whoever cannot ask it within a moment counts by
himself, and so do the others until it answers again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from smtpconnector_server.rpc.events import LimitCountedAlone, LimitsShared
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.rpc.events import CallHook
    from smtpconnector_server.rpc.rates import Rate
    from smtpconnector_server.store.sealing import Sealer
    from smtpconnector_server.store.store import Store

_ANSWER_SECONDS: Final = 0.2
"""For the store to answer a count: what a mail may lose by a store that hangs."""
_AWAY_SECONDS: Final = 1.0
"""After which a store that did not answer is asked again, by one call alone."""


class SharedRates:
    """Counts in a store.

    Args:
        store: Counts for all servers.
        sealer: Hashes what is counted.
        hook: Told when the store is lost and found again.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, store: Store, sealer: Sealer, hook: CallHook, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._hook = hook
        self._clock = clock
        self._is_away = False
        self._ask_at = 0.0

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
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                wait = await self._store.take(key, [(rate.count, rate.seconds) for rate in rates])
        except (StoreError, TimeoutError) as error:
            self._lose(str(error) or "it did not answer in time")
            return None
        if self._is_away:
            self._is_away = False
            self._hook(LimitsShared())
        return wait

    def _lose(self, why: str) -> None:
        """Take note that the store could not be asked."""
        self._ask_at = self._clock() + _AWAY_SECONDS
        self._hook(LimitCountedAlone(error=None if self._is_away else why))
        self._is_away = True
