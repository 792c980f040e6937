"""Waiting for a message to change, whoever changes it: hints make it quick, looking again makes it sure."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from smtpconnector_server.store.store import Store

LOOK_AGAIN_SECONDS: Final = 0.5
"""After which a message is read again without a hint: other servers' changes may come without one."""


class Changes:
    """Who waits for which message.

    Args:
        store: Gives the hints.
    """

    def __init__(self, store: Store) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        store.on_change(self._wake)

    @contextmanager
    def of(self, delivery_id: str) -> Iterator[Callable[[], Awaitable[None]]]:
        """Follow a message: a change between two waits is not missed.

        Yields:
            What waits until the message may have changed since it was awaited last.
        """
        hint = asyncio.Event()
        waiting = self._waiting[delivery_id]
        waiting.add(hint)

        async def changed() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await hint.wait()
            hint.clear()

        try:
            yield changed
        finally:
            waiting.discard(hint)
            if not waiting:
                self._waiting.pop(delivery_id, None)

    async def wait(self, delivery_id: str, *, within: float) -> None:
        """Wait until a message may have changed, and not longer than ``within`` seconds."""
        with self.of(delivery_id) as changed, suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, within)):
                await changed()

    def _wake(self, delivery_id: str) -> None:
        for hint in self._waiting.get(delivery_id, ()):
            hint.set()
