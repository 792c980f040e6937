"""Lends sessions, warm ones where there are any, and opens and closes them as the rosters decide.

Each server with its credentials has sessions, a queue and a circuit breaker of its own, so that a slow one delays no
other. A session comes back to be lent again only if every reply of its last mail was read; any other is aborted.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.breaker import FIRST_PAUSE
from smtpconnector_server.smtp.events import SessionAwaited, tell_nobody
from smtpconnector_server.smtp.fleet import Fleet, shutting_down
from smtpconnector_server.smtp.opening import Opener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.census import Census
    from smtpconnector_server.smtp.dialer import Dialer
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.roster import Berth
    from smtpconnector_server.smtp.sasl import TokenProvider
    from smtpconnector_server.smtp.session import Session

_MAX_SERVERS: Final = 1024
"""Rosters kept. Beyond it, the longest unused one is given up."""


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
        self._fleets: OrderedDict[Server, Fleet] = OrderedDict()
        """The last used last."""
        self._is_closing = False

    @asynccontextmanager
    async def session(self, server: Server) -> AsyncIterator[Session]:
        """Lend a session for the length of a context.

        Waits in turn for a warm session or for a new one, as long as the caller does. If a used session
        (:attr:`Session.was_used`) turns out stale, the next one lent is fresh.

        Raises:
            Failure: None could be opened, or the pool is closing.
        """
        if self._is_closing:
            raise shutting_down(server)
        fleet = self._fleet(server)
        berth = await self._borrow(fleet, server)
        try:
            yield fleet.lend(berth)
        except BaseException as error:
            fleet.take_back(berth, error)
            raise
        else:
            fleet.take_back(berth)

    async def close(self, grace: float) -> None:
        """Close all sessions; nobody gets one any more.

        Args:
            grace: Seconds that those have who borrowed one. After them sessions are aborted.
        """
        self._is_closing = True
        await asyncio.gather(*(fleet.close(grace) for fleet in self._fleets.values()))
        self._fleets.clear()

    def stage(self, server: Server) -> Stage:
        """Return what those wait for who have no session with a server yet."""
        fleet = self._fleets.get(server)
        return Stage.POOL if fleet is None else fleet.stage

    def census(self) -> Iterator[tuple[Server, Census]]:
        """Count the sessions of each server with its credentials, and who waits for one."""
        return ((server, fleet.census()) for server, fleet in self._fleets.items())

    async def _borrow(self, fleet: Fleet, server: Server) -> Berth[Session]:
        began, was_lent = self._clock(), False
        try:
            berth = await fleet.borrow()
            was_lent = True
        finally:
            self._hook(SessionAwaited(server.host, server.port, self._clock() - began, was_lent))
        return berth

    def _fleet(self, server: Server) -> Fleet:
        fleet = self._fleets.get(server)
        if fleet is None:
            if len(self._fleets) >= self._max_servers:
                self._give_up_one(server)
            fleet = self._fleets[server] = Fleet(server, self.opener, self._hook, first_pause=self._first_pause)
        self._fleets.move_to_end(server)
        return fleet

    def _give_up_one(self, newcomer: Server) -> None:
        for server, fleet in self._fleets.items():
            if fleet.is_unused:
                fleet.disband()
                del self._fleets[server]
                return
        raise Failure(
            Reason.SERVICE_OVERLOADED,
            f"Mails are on their way to {self._max_servers} SMTP servers already. Try again later.",
            stage=Stage.POOL,
            host=newcomer.host,
        )
