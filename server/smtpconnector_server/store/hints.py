"""Hints between the servers that share a PostgreSQL: what has changed, soon, and never to be relied upon.

LISTEN needs a connection of its own for as long as it lasts. Where a pooler is between, there is none, and nothing is
heard: whoever waits for a change looks again anyway. NOTIFY is never part of a transaction that changes anything:
PostgreSQL lets those that notify commit only one after the other.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import psycopg

from smtpconnector_server.store.connections import is_direct
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.store.connections import Connections

_LISTEN: Final = "LISTEN smtpconnector_changes"
_NOTIFY: Final = "SELECT pg_notify('smtpconnector_changes', payload) FROM unnest(%(payloads)s::text[]) AS payload"
_GATHER_SECONDS: Final = 0.02
"""What changes within is told at once."""
_IDS_IN_PAYLOAD: Final = 100
"""A payload may have 8000 octets."""
_MOST_UNTOLD: Final = 10_000
_LISTEN_AGAIN_SECONDS: Final = 2.0


class Hints:
    """Tells the other servers what this one has changed, and hears of what they have.

    Args:
        connections: To the database.
        tell: Called with the ids of messages that others have changed.
    """

    def __init__(
        self,
        connections: Connections,
        tell: Callable[[Sequence[str]], None],
    ) -> None:
        self._connections = connections
        self._tell = tell
        self._name = secrets.token_hex(4)
        self._untold: dict[str, None] = {}
        self._is_untold = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to tell."""
        self._tasks = [
            asyncio.create_task(self._keep_listening(), name="store-listen"),
            asyncio.create_task(self._keep_telling(), name="store-notify"),
        ]

    async def stop(self) -> None:
        """Stop both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, changed: Sequence[str]) -> None:
        """Tell the others that these messages have changed; an empty id: something was queued."""
        if changed and len(self._untold) < _MOST_UNTOLD:
            self._untold.update(dict.fromkeys(changed))
            self._is_untold.set()

    async def _keep_telling(self) -> None:
        while True:
            await self._is_untold.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._is_untold.clear()
            ids = list(self._untold)
            self._untold.clear()
            payloads = [
                ",".join((self._name, *ids[start : start + _IDS_IN_PAYLOAD]))
                for start in range(0, len(ids), _IDS_IN_PAYLOAD)
            ]
            with suppress(psycopg.Error, StoreError):
                async with self._connections.lend() as connection:
                    await connection.execute(_NOTIFY, {"payloads": payloads})

    async def _keep_listening(self) -> None:
        is_possible = True
        while is_possible:
            with suppress(psycopg.Error, OSError):
                is_possible = await self._listen()
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _listen(self) -> bool:
        """Listen until the connection ends; return False if nothing would ever be heard."""
        async with await self._connections.make() as connection:
            if not await is_direct(connection):
                return False  # LISTEN would be left behind in somebody else's session
            await connection.execute(_LISTEN)
            self._tell(("",))  # nothing was heard until now
            async for notify in connection.notifies():
                sender, *changed = notify.payload.split(",")
                if sender != self._name:
                    self._tell(changed)
        return True
