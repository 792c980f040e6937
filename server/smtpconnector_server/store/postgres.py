"""The store in PostgreSQL (14 and newer), which any number of servers share.

Every operation is one short transaction, most of them one statement that commits by itself; nothing belongs to a
session, so that PgBouncer may give each transaction another connection. Times are the database's own. A change is
guarded in the statement that makes it, which is all that READ COMMITTED needs: of two servers that change one row, the
second looks at the row anew after the first.

Whether an operation happened is uncertain only if its connection ended, or said nothing for too long, while an answer
that could be a commit was awaited. An error that PostgreSQL reports has undone it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import select
import time
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final, LiteralString, TypeAlias, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from smtpconnector_server.store.dialect import Dialect
from smtpconnector_server.store.hints import Hints
from smtpconnector_server.store.migrations import migrate
from smtpconnector_server.store.sql_store import SqlStore
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import Any, Self

    from smtpconnector_server.store.operations import Done, Operation
    from smtpconnector_server.store.rows import Row, Value

T = TypeVar("T")
_Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

DIALECT: Final = Dialect(
    now="CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)",
    skip_locked="FOR UPDATE SKIP LOCKED",
    blob="BYTEA",
    text='TEXT COLLATE "C"',
)
_OLDEST: Final = 140_000
_CONNECTIONS: Final = 10
"""That one process may have, and one more for hints."""
_CONNECT_SECONDS: Final = 5
_ASK_POOL_SECONDS: Final = 0.3
"""The pool tries a new connection when somebody asks, and only then soon after one that failed."""
_RECONNECT_SECONDS: Final = 0.2
"""Until the pool gives a failed connection up; it would wait longer each time."""
_MIGRATE_SECONDS: Final = 300.0
_TRIES: Final = 5
_UNDONE_FOR_OTHERS: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the operation was undone so that another one could go on."""
_VALUES_IN_MESSAGE: Final = ("22", "23")
"""Classes of errors whose message may quote what was to be stored."""
_PARAMETER: Final = re.compile(r":([a-z_]+)")
_LINK: Final[dict[str, str | int]] = {
    "application_name": "smtpconnector",
    "client_encoding": "utf8",
    "connect_timeout": _CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What a URL does not say itself. Nothing that PgBouncer refuses."""


class PostgresStore(SqlStore):
    """A store in a database; see :meth:`open`."""

    patience_seconds: ClassVar = 5.0
    """Until an operation that finds no connection fails."""
    answer_seconds: ClassVar = 10.0
    """Until an operation is cancelled: somebody holds a lock, or the network has swallowed it."""

    def __init__(self, conninfo: str, dialect: Dialect) -> None:
        super().__init__()
        self._conninfo = conninfo
        self._dialect = dialect
        self._no_connection = ""
        """Why the last connection could not be made."""
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            open=False,
            conninfo=conninfo,
            connection_class=_remembering(self._remember),
            # No prepared statements: behind PgBouncer the next one would reach a server that has not prepared it.
            kwargs={"autocommit": True, "prepare_threshold": None},
            min_size=1,
            max_size=_CONNECTIONS,
            reconnect_timeout=_RECONNECT_SECONDS,
        )
        self._hints = Hints(conninfo, self._execute, super()._tell)

    @classmethod
    async def open(cls, url: str, *, dialect: Dialect = DIALECT) -> Self:
        """Connect to a database and bring its schema up to date.

        Args:
            url: A connection URI of libpq, ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``.
            dialect: Its words, among them the clock.

        Raises:
            StoreError: It cannot be reached, it is not fit to be a store, or a newer program has made its schema.
        """
        store = cls(_conninfo(url), dialect)
        try:
            async with await psycopg.AsyncConnection.connect(
                store._conninfo, autocommit=True, prepare_threshold=None
            ) as connection:
                await _check_fitness(connection)
                await store._hold(connection, migrate, in_turn=b"migrate", within=_MIGRATE_SECONDS)
        except psycopg.Error as error:
            raise _to_store_error(error, may_have_happened=False) from None
        await store._pool.open()
        store._hints.start()
        return store

    async def close(self) -> None:
        """Let go of the connections; what is under way goes on to its end."""
        await self._hints.stop()
        await self._pool.close()

    async def _write(self, make: Callable[[], Operation[T]], *, in_turn: bytes | None = None) -> T:
        for _ in range(_TRIES):
            try:
                done = await self._run(make, in_turn)
            except StoreError as error:
                undone = error.__cause__
                if not isinstance(undone, psycopg.Error) or undone.sqlstate not in _UNDONE_FOR_OTHERS:
                    raise
                await asyncio.sleep(random.uniform(0.0, 0.05))  # noqa: S311 - no secret
            else:
                self._tell(done.changed)
                return done.result
        raise StoreError("PostgreSQL: others were in the way, over and over", is_certain=True)

    async def _read(self, make: Callable[[], Operation[T]]) -> T:
        try:
            return (await self._run(make)).result
        except StoreError as error:
            if error.is_certain:
                raise
        return (await self._run(make)).result  # the connection broke, and asking again harms nobody

    def _tell(self, changed: Sequence[str]) -> None:
        super()._tell(changed)
        self._hints.send(changed)

    async def _run(self, make: Callable[[], Operation[T]], in_turn: bytes | None = None) -> Done[T]:
        async with self._connection() as connection:
            return await self._hold(connection, make, in_turn=in_turn, within=self.answer_seconds)

    async def _hold(
        self, connection: _Connection, make: Callable[[], Operation[T]], *, in_turn: bytes | None, within: float
    ) -> Done[T]:
        """Hold an operation's conversation, as one transaction if it has to take its turn.

        Raises:
            StoreError: It failed. A transaction that was begun is left to whoever has the connection next.
        """
        may_have_happened = in_turn is None
        try:
            async with asyncio.timeout(within):
                if in_turn is None:
                    return await self._converse(connection, make())
                # The lock is taken before the first statement that looks: each sees what those before it have done.
                await connection.execute(_begin_alone(in_turn))
                done = await self._converse(connection, make())
                may_have_happened = True
                await connection.execute("COMMIT")
                return done
        except psycopg.Error as error:
            raise _to_store_error(error, may_have_happened=may_have_happened) from error
        except TimeoutError:
            raise StoreError(f"PostgreSQL: no answer within {within:.0f} s", is_certain=not may_have_happened) from None

    async def _converse(self, connection: _Connection, operation: Operation[T]) -> Done[T]:
        try:
            query = next(operation)
            while True:
                query = operation.send(await _ask(connection, _rendered(self._dialect, query.sql), query.values))
        except StopIteration as end:
            done: Done[T] = end.value
            return done
        finally:
            operation.close()

    async def _execute(self, sql: LiteralString, values: Mapping[str, object]) -> None:
        async with self._connection() as connection:
            await connection.execute(sql, values)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """Lend a connection that the server has not ended while nobody looked."""
        while True:
            connection = await self._get()
            try:
                if not _has_ended(connection):
                    yield connection
                    return
                await connection.close()
            finally:
                await self._pool.putconn(connection)

    async def _get(self) -> _Connection:
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        gives_up_at = time.monotonic() + self.patience_seconds
        while True:
            try:
                connection = await self._pool.getconn(timeout=_ASK_POOL_SECONDS)
            except PoolClosed:
                raise StoreError("the store is closed", is_certain=True) from None
            except PoolTimeout:
                if time.monotonic() < gives_up_at:
                    continue
                why = self._no_connection or f"all {_CONNECTIONS} are in use"
                raise StoreError(f"PostgreSQL: no connection: {why}", is_certain=True) from None
            if task is not None and task.cancelling() > cancellations:
                # In Python 3.11 wait_for, which the pool uses, forgets one that comes together with the result.
                await self._pool.putconn(connection)
                raise asyncio.CancelledError
            return connection

    def _remember(self, why: str) -> None:
        self._no_connection = why


def _remembering(remember: Callable[[str], None]) -> type[_Connection]:
    """Return a class of connections that notes why the last one could not be made; the pool keeps that to itself."""

    class Connection(psycopg.AsyncConnection["tuple[Any, ...]"]):
        @classmethod
        async def connect(cls, *arguments: Any, **options: Any) -> Self:  # noqa: ANN401 - whatever the pool passes on
            try:
                connection = await super().connect(*arguments, **options)
            except psycopg.Error as error:
                remember(_one_line(error))
                raise
            remember("")
            return connection

    return Connection


async def _check_fitness(connection: _Connection) -> None:
    """Refuse a database that could not keep the promises.

    Raises:
        StoreError: It is too old, has another encoding, or says "done" before it is.
    """
    if connection.info.server_version < _OLDEST:
        raise StoreError("PostgreSQL 14 or newer is needed", is_certain=True)
    answer = await connection.execute(
        "SELECT current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('fsync')"
    )
    ((encoding, synchronous_commit, fsync),) = await answer.fetchall()
    if encoding != "UTF8":
        raise StoreError(f"the database's encoding is {encoding}: make one with ENCODING 'UTF8'", is_certain=True)
    for name, value in (("synchronous_commit", synchronous_commit), ("fsync", fsync)):
        if value == "off":
            raise StoreError(
                f"PostgreSQL has {name} = off, so that mails which were accepted could be lost: turn it on",
                is_certain=True,
            )


async def _ask(connection: _Connection, sql: LiteralString, values: Mapping[str, Value]) -> Sequence[Row]:
    cursor = connection.cursor(binary=True)
    await cursor.execute(sql, {name: _storable(value) for name, value in values.items()})
    return await cursor.fetchall() if cursor.description else ()


@cache
def _rendered(dialect: Dialect, sql: str) -> LiteralString:
    """Return a statement in PostgreSQL's words, with psycopg's parameters."""
    return _PARAMETER.sub(r"%(\1)s", dialect.render(sql))


def _storable(value: Value) -> Value:
    """Return a value without the one character that PostgreSQL's texts cannot hold."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) and "\0" in value else value


def _begin_alone(in_turn: bytes) -> LiteralString:
    """Return what begins a transaction that excludes others with the same key until it ends."""
    lock = int.from_bytes(hashlib.blake2b(in_turn, digest_size=8).digest(), signed=True)
    return f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({lock})"


def _has_ended(connection: _Connection) -> bool:
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


def _to_store_error(error: psycopg.Error, *, may_have_happened: bool) -> StoreError:
    """Translate an error; one of severity FATAL may come after a commit, one of severity ERROR has undone it."""
    has_ended = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    is_undone = error.diag.severity_nonlocalized == "ERROR" or not has_ended
    text = _one_line(error)
    if error.sqlstate is not None:
        text = f"{type(error).__name__} ({error.sqlstate})"
        if not error.sqlstate.startswith(_VALUES_IN_MESSAGE):
            text += f": {error.diag.message_primary}"
    return StoreError(f"PostgreSQL: {text}", is_certain=is_undone or not may_have_happened)


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
