"""Waiting for a message to change, whoever changes it: hints make it quick, looking again makes it sure."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from smtpconnector_server.store.store import Store

LOOK_AGAIN_SECONDS: Final = 0.5
"""After which a message is read again without a hint: other servers' changes may come without one."""


class Changes:
    """Who waits for which message.

    Args:
        store: Gives the hints.
    """

    def __init__(self, store: Store) -> None:
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        store.on_change(self._wake)

    async def wait(self, delivery_id: str, *, within: float) -> None:
        """Wait until a message may have changed, and not longer than ``within`` seconds."""
        hint = asyncio.get_running_loop().create_future()
        waiting = self._waiting[delivery_id]
        waiting.add(hint)
        try:
            await asyncio.wait({hint}, timeout=max(0.0, min(within, LOOK_AGAIN_SECONDS)))
        finally:
            waiting.discard(hint)
            if not waiting:
                self._waiting.pop(delivery_id, None)

    def _wake(self, delivery_id: str) -> None:
        for hint in self._waiting.get(delivery_id, ()):
            if not hint.done():
                hint.set_result(None)
