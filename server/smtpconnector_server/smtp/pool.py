"""Lends sessions, warm ones where there are any, and opens and closes them as the slots decide.

Each server with its credentials has sessions, a queue and a circuit breaker of its own, so that a slow one delays no
other. A session comes back to be lent again only if every reply of its last mail was read; any other is aborted.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.breaker import FIRST_PAUSE
from smtpconnector_server.smtp.events import SessionAwaited, tell_nobody
from smtpconnector_server.smtp.opening import Opener
from smtpconnector_server.smtp.server_pool import ServerPool, shutting_down

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.dialer import Dialer
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.pool_counts import PoolCounts
    from smtpconnector_server.smtp.sasl import TokenProvider
    from smtpconnector_server.smtp.session import Session
    from smtpconnector_server.smtp.slots import Slot

_MAX_SERVERS: Final = 1024
"""Servers whose sessions are kept. Beyond it, the longest unused one is given up."""


class Lease:
    """A session on loan.

    Attributes:
        session: The session.
    """

    __slots__ = ("_pool", "_slot", "session")

    def __init__(self, pool: ServerPool, slot: Slot[Session]) -> None:
        self._pool = pool
        self._slot = slot
        self.session = pool.lend(slot)

    def end(self, error: BaseException | None = None) -> None:
        """Give the session back.

        Args:
            error: What went wrong with it, if anything did.
        """
        self._pool.take_back(self._slot, error)


class SessionPool:
    """Lends sessions.

    Args:
        dialer: Makes the connections.
        tokens: Where OAuth 2.0 access tokens come from. None: nowhere.
        hook: Told what happens on the wire.
        max_servers: Servers, each with its credentials, whose sessions are kept at the same time.
        first_pause: Seconds in which a server that is down is left alone at first.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        tokens: TokenProvider | None = None,
        hook: WireHook = tell_nobody,
        max_servers: int = _MAX_SERVERS,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self.opener = Opener(dialer, tokens=tokens, hook=hook)
        self._hook = hook
        self._max_servers = max_servers
        self._first_pause = first_pause
        self._clock = time.monotonic
        self._pools: dict[Server, ServerPool] = {}
        self.on_new: Callable[[Server, ServerPool], None] = _ignore
        """Told of each server before the first session with it is opened."""
        self._is_closing = False

    async def lend(self, server: Server) -> Lease:
        """Lend a session until the lease is ended.

        Waits in turn for a warm session or for a new one, as long as the caller does. If a used session
        (:attr:`Session.was_used`) turns out stale, the next one lent is fresh.

        Raises:
            Failure: None could be opened, or the pool is closing.
        """
        if self._is_closing:
            raise shutting_down(server)
        pool = self._pool(server)
        began, was_lent = self._clock(), False
        try:
            slot = await pool.borrow()
            was_lent = True
        finally:
            self._hook(SessionAwaited(server.host, server.port, self._clock() - began, was_lent))
        return Lease(pool, slot)

    @asynccontextmanager
    async def session(self, server: Server) -> AsyncIterator[Session]:
        """Lend a session for the length of a context.

        Raises:
            Failure: As :meth:`lend`.
        """
        lease = await self.lend(server)
        try:
            yield lease.session
        except BaseException as error:
            lease.end(error)
            raise
        else:
            lease.end()

    async def close(self, grace: float) -> None:
        """Close all sessions; nobody gets one any more.

        Args:
            grace: Seconds that those have who borrowed one. After them sessions are aborted.
        """
        self._is_closing = True
        await asyncio.gather(*(pool.close(grace) for pool in self._pools.values()))
        self._pools.clear()

    def stage(self, server: Server) -> Stage:
        """Return what those wait for who have no session with a server yet."""
        pool = self._pools.get(server)
        return Stage.POOL if pool is None else pool.stage

    def servers(self) -> Iterator[tuple[Server, ServerPool]]:
        """Return the servers that have sessions, or had some."""
        return iter(self._pools.items())

    def counts(self) -> Iterator[tuple[Server, PoolCounts]]:
        """Count the sessions of each server with its credentials, and who waits for one."""
        return ((server, pool.counts()) for server, pool in self._pools.items())

    def _pool(self, server: Server) -> ServerPool:
        pool = self._pools.get(server)
        if pool is None:
            if len(self._pools) >= self._max_servers:
                self._give_up_one(server)
            pool = self._pools[server] = ServerPool(server, self.opener, self._hook, first_pause=self._first_pause)
            self.on_new(server, pool)
        return pool

    def _give_up_one(self, newcomer: Server) -> None:
        unused = [(pool.used_at, server) for server, pool in self._pools.items() if pool.is_unused]
        if not unused:
            raise Failure(
                Reason.SERVICE_OVERLOADED,
                f"Mails are on their way to {self._max_servers} SMTP servers already. Try again later.",
                stage=Stage.POOL,
                host=newcomer.host,
            )
        _, server = min(unused, key=itemgetter(0))
        self._pools.pop(server).disband()


def _ignore(_server: Server, _pool: ServerPool) -> None:
    """Ignore a new server."""
