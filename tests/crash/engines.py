"""Where the servers of a campaign keep their messages, and what can happen to it there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.proxy import Proxy
from harness.servers.postgres import Shutdown, running_postgres
from smtpconnector_server.store.keyring import fresh_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from random import Random

ENGINES = ("none", "sqlite", "postgres")


@dataclass(frozen=True, slots=True)
class Engine:
    """A store."""

    flags: tuple[str, ...] = ()
    """Of ``serve``."""
    harms: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What can happen to it apart from the servers."""

    @property
    def exists(self) -> bool:
        """Whether anything is kept at all."""
        return bool(self.flags)


@asynccontextmanager
async def open_engine(name: str, folder: Path, random: Random) -> AsyncIterator[Engine]:
    """Have a store inside the context."""
    if name == "none":
        yield Engine()
    elif name == "sqlite":
        yield Engine(("--store", str(folder / "store.sqlite")))
    else:
        async with _postgres(folder, random) as engine:
            yield engine


@asynccontextmanager
async def _postgres(folder: Path, random: Random) -> AsyncIterator[Engine]:
    with running_postgres() as server:
        database = server.new_database()
        async with Proxy(server.port) as proxy:
            keys = folder / "store.key"
            keys.write_text(fresh_key(), encoding="ascii")
            keys.chmod(0o600)

            async def restart() -> None:
                await asyncio.to_thread(server.restart, Shutdown.IMMEDIATE)

            async def lose_power() -> None:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)

            async def cut() -> None:
                proxy.cut()
                await asyncio.sleep(random.uniform(0.1, 1.5))
                proxy.mend()

            async def hold() -> None:
                proxy.hold()
                await asyncio.sleep(random.choice((0.5, 2.0, 7.0)))
                proxy.mend()

            yield Engine(
                ("--store", server.url(database, port=proxy.port), "--store-key", str(keys)),
                {"restart": restart, "power": lose_power, "cut off": cut, "network silent": hold},
            )
