"""Connections to PostgreSQL: lent for one transaction each, and made anew by themselves when the server was away.

A connection that the server has ended while nobody looked is never lent, so that a restart makes nothing uncertain that
was not under way.
"""

from __future__ import annotations

import asyncio
import select
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Self

Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

MOST: Final = 10
"""That one process has for its operations."""
_LINK: Final[dict[str, str | int]] = {
    "application_name": "smtpconnector",
    "client_encoding": "utf8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What a URL does not say itself. Nothing that PgBouncer refuses."""
_OPTIONS: Final[dict[str, Any]] = {"autocommit": True, "prepare_threshold": None}
_ASK_POOL_SECONDS: Final = 0.3
"""The pool tries a new connection when somebody asks, and only then soon after one that failed."""
_RECONNECT_SECONDS: Final = 0.2
"""Until the pool gives a failed connection up; it would wait longer each time."""


class Connections:
    """A pool of them.

    Args:
        url: A connection URI of libpq.
        patience_seconds: Until who asks for one, and gets none, is told so.

    Raises:
        StoreError: It is no such URI.
    """

    def __init__(self, url: str, *, patience_seconds: float) -> None:
        self._conninfo = _conninfo(url)
        self._patience_seconds = patience_seconds
        self._failure = ""
        """Why the last one could not be made."""
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            open=False,
            conninfo=self._conninfo,
            connection_class=_remembering(self._remember),
            kwargs=_OPTIONS,
            configure=_configure,
            min_size=1,
            max_size=MOST,
            reconnect_timeout=_RECONNECT_SECONDS,
        )

    async def open(self) -> None:
        """Begin to make connections."""
        await self._pool.open()

    async def close(self) -> None:
        """Close those that are idle, and the others when they come back."""
        await self._pool.close()

    async def make(self) -> Connection:
        """Make one for whoever needs it longer, at once.

        Raises:
            psycopg.Error: It cannot be made.
        """
        return await psycopg.AsyncConnection.connect(self._conninfo, **_OPTIONS)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lend a connection; what it was left in the middle of is undone.

        Raises:
            StoreError: There is none to be had; nothing was done, that is certain.
        """
        while True:
            connection = await self._get()
            try:
                if not _has_ended(connection):
                    yield connection
                    return
                await connection.close()
            finally:
                await self._pool.putconn(connection)

    async def _get(self) -> Connection:
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        gives_up_at = time.monotonic() + self._patience_seconds
        while True:
            try:
                connection = await self._pool.getconn(timeout=_ASK_POOL_SECONDS)
            except PoolClosed:
                raise StoreError("the store is closed", is_certain=True) from None
            except PoolTimeout:
                if time.monotonic() < gives_up_at:
                    continue
                why = self._failure or f"all {MOST} are in use"
                raise StoreError(f"PostgreSQL: no connection: {why}", is_certain=True) from None
            if task is not None and task.cancelling() > cancellations:
                # In Python 3.11 wait_for, which the pool uses, forgets one that comes together with the result.
                await self._pool.putconn(connection)
                raise asyncio.CancelledError
            return connection

    def _remember(self, why: str) -> None:
        self._failure = why


async def is_direct(connection: Connection) -> bool:
    """Return whether there is no pooler between, so that a session is one; a pooler has process ids of its own."""
    ((pid,),) = await (await connection.execute("SELECT pg_backend_pid()")).fetchall()
    return bool(pid == connection.info.backend_pid)


def one_line(error: psycopg.Error) -> str:
    """Return what an error says without its line breaks."""
    return " ".join(str(error).split())


async def _configure(connection: Connection) -> None:
    # Preparing spares the server a third of its work. Behind a pooler the next statement would reach a session that has
    # not prepared it.
    if await is_direct(connection):
        connection.prepare_threshold = 1


def _remembering(remember: Callable[[str], None]) -> type[Connection]:
    """Return a class of connections that notes why the last one could not be made; the pool keeps that to itself."""

    class Remembering(psycopg.AsyncConnection["tuple[Any, ...]"]):
        @classmethod
        async def connect(cls, *arguments: Any, **options: Any) -> Self:  # noqa: ANN401 - whatever the pool passes on
            try:
                connection = await super().connect(*arguments, **options)
            except psycopg.Error as error:
                remember(one_line(error))
                raise
            remember("")
            return connection

    return Remembering


def _has_ended(connection: Connection) -> bool:
    """Return whether an idle connection is of no use: the server says something only when it leaves."""
    if connection.closed or connection.broken:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _conninfo(url: str) -> str:
    try:
        given = conninfo_to_dict(url)
        return make_conninfo(url, **{name: value for name, value in _LINK.items() if name not in given})
    except psycopg.Error:
        raise StoreError(
            "the URL of the store is none that PostgreSQL knows: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, where "
            "special characters of the password are percent-encoded",
            is_certain=True,
        ) from None
