"""What the servers on one store tell each other of SMTP servers that refuse, throttle or are down.

Whoever begins a pause says so in the store; the others keep it a little longer than it lasts there, so that one alone
finds out whether it works again, and tells that as well. Only profiles' servers are told of. A store that fails changes
nothing but that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.config.model import LoginAuth
from smtpconnector_server.failure import Reason
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.pool import SessionPool
    from smtpconnector_server.smtp.server_pool import ServerPool
    from smtpconnector_server.store.sealing import Sealer
    from smtpconnector_server.store.store import Store

LOOK_SECONDS: Final = 0.5
_HEAD_START_SECONDS: Final = 2.0
"""By which the one who began a pause tries again before the others."""
_SAME_SECONDS: Final = 0.5
"""By which two times that mean the same moment may differ."""

_log = structlog.get_logger()


class SharedPauses:
    """Exchanges pauses.

    Args:
        store: Where they are told.
        sealer: Hashes whom they are about.
        pool: The sessions with the servers of profiles.
    """

    def __init__(self, store: Store, sealer: Sealer, pool: SessionPool) -> None:
        self._store = store
        self._sealer = sealer
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._told: dict[bytes, float] = {}
        """When the pauses end that were begun and told here."""
        self._own_until: dict[bytes, float] = {}
        """When what was told of them ends in the store, at the latest."""
        self._distrusted: set[bytes] = set()
        """Which servers were paused, or about to be tried after a pause, at the last look."""
        self._heard: dict[bytes, float] = {}
        """When the pauses end that the store had at the last look."""
        self._paused: Mapping[bytes, tuple[float, str]] = {}
        """What the store had at the last look, for servers that are new here."""
        self._looked_at = 0.0
        self._is_failing = False
        pool.on_new = self._begin

    async def follow(self) -> None:
        """Exchange for ever."""
        while True:
            try:
                await self.exchange()
                self._is_failing = False
            except StoreError as error:
                if not self._is_failing:
                    _log.warning("store_failed", doing="share pauses", error=str(error))
                self._is_failing = True
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may do
                _log.error("outbox_broke", doing="share pauses", error_type=type(error).__qualname__)
            await asyncio.sleep(LOOK_SECONDS)

    async def exchange(self) -> None:
        """Tell and hear once.

        Raises:
            StoreError: The store cannot be asked.
        """
        pools: defaultdict[bytes, list[ServerPool]] = defaultdict(list)
        for server, pool in self._pool.servers():
            pools[self._key(server)].append(pool)
        await self._tell(pools)
        self._paused = await self._store.paused_servers()
        self._looked_at = self._loop.time()
        self._hear(pools, self._paused)

    def _begin(self, server: Server, pool: ServerPool) -> None:
        if self._paused:
            seconds, reason = self._paused.get(self._key(server), (0.0, ""))
            left = seconds - (self._loop.time() - self._looked_at)
            if left > 0:
                self._pause([pool], left, reason)

    async def _tell(self, pools: Mapping[bytes, list[ServerPool]]) -> None:
        for key, same in pools.items():
            now = self._loop.time()
            own = [pool.own_pause for pool in same]
            newest = max((pause for pause in own if pause is not None), key=lambda pause: pause.ends_at, default=None)
            if newest is not None and newest.ends_at > now and self._told.get(key) != newest.ends_at:
                seconds = newest.ends_at - now + _HEAD_START_SECONDS
                await self._store.report_server(key, paused_for=seconds, reason=newest.failure.reason)
                self._told[key] = newest.ends_at
                self._own_until[key] = self._loop.time() + seconds
            if not all(pool.is_trusted for pool in same):
                self._distrusted.add(key)
            elif key in self._distrusted:
                await self._store.report_server(key, paused_for=0.0, reason=None)
                self._distrusted.discard(key)
                self._told.pop(key, None)

    def _hear(self, pools: Mapping[bytes, list[ServerPool]], paused: Mapping[bytes, tuple[float, str]]) -> None:
        now = self._loop.time()
        for key, same in pools.items():
            if key in paused:
                seconds, reason = paused[key]
                if self._own_until.get(key, 0.0) + _SAME_SECONDS < now + seconds:
                    self._pause(same, seconds, reason)
                self._heard[key] = now + seconds
            elif self._heard.pop(key, 0.0) > now + _SAME_SECONDS:  # taken back before its end
                for pool in same:
                    pool.relieve()

    def _pause(self, same: list[ServerPool], seconds: float, reason: str) -> None:
        for pool in same:
            with suppress(ValueError):  # a newer server's reason
                pool.hear(Reason(reason), seconds)

    def _key(self, server: Server) -> bytes:
        # With the password in it, one that was corrected here is not paused for the old one elsewhere.
        auth = server.auth
        password = auth.password.reveal() if isinstance(auth, LoginAuth) else ""
        user = auth.user if auth is not None else ""
        return self._sealer.hash("server", server.host, str(server.port), user, password)
