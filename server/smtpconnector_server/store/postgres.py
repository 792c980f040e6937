"""The store in PostgreSQL (14 and newer), which any number of servers share.

Every operation is one short transaction, most of them one statement that commits by itself; nothing that it needs
belongs to a session, so that PgBouncer may give each transaction another connection. Times are the database's own. A
change is guarded in the statement that makes it, which is all that READ COMMITTED needs: of two servers that change one
row, the second looks at the row anew after the first.

Whether an operation happened is uncertain only if its connection ended, or said nothing for too long, while an answer
that could be a commit was awaited. An error that PostgreSQL reports has undone it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Final, LiteralString, TypeVar

import psycopg

from smtpconnector_server.store.connections import Connections, one_line
from smtpconnector_server.store.dialect import Dialect
from smtpconnector_server.store.hints import Hints
from smtpconnector_server.store.migrations import migrate
from smtpconnector_server.store.sql_store import SqlStore
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from smtpconnector_server.store.connections import Connection
    from smtpconnector_server.store.operations import Done, Operation
    from smtpconnector_server.store.rows import Row, Value

T = TypeVar("T")

DIALECT: Final = Dialect(
    now="CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)",
    skip_locked="FOR UPDATE SKIP LOCKED",
    blob="BYTEA",
    text='TEXT COLLATE "C"',
)
_OLDEST: Final = 140_000
_MIGRATE_SECONDS: Final = 300.0
_TRIES: Final = 5
_UNDONE_FOR_OTHERS: Final = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the operation was undone so that another one could go on."""
_VALUES_IN_MESSAGE: Final = ("22", "23")
"""Classes of errors whose message may quote what was to be stored."""
_PARAMETER: Final = re.compile(r":([a-z_]+)")


class PostgresStore(SqlStore):
    """A store in a database; see :meth:`open`."""

    patience_seconds: ClassVar = 5.0
    """Until an operation that finds no connection fails."""
    answer_seconds: ClassVar = 10.0
    """Until an operation is cancelled: somebody holds a lock, or the network has swallowed it."""

    def __init__(self, url: str, dialect: Dialect) -> None:
        super().__init__()
        self._dialect = dialect
        self._connections = Connections(url, patience_seconds=self.patience_seconds)
        self._hints = Hints(self._connections, super()._tell)

    @classmethod
    async def open(cls, url: str, *, dialect: Dialect = DIALECT) -> Self:
        """Connect to a database and bring its schema up to date.

        Args:
            url: A connection URI of libpq, ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``.
            dialect: Its words, among them the clock.

        Raises:
            StoreError: It cannot be reached, it is not fit to be a store, or a newer program has made its schema.
        """
        store = cls(url, dialect)
        try:
            async with await store._connections.make() as connection:
                await _check_fitness(connection)
                await store._hold(connection, migrate, in_turn=b"migrate", within=_MIGRATE_SECONDS)
        except psycopg.Error as error:
            raise _to_store_error(error, may_have_happened=False) from None
        await store._connections.open()
        store._hints.start()
        return store

    async def close(self) -> None:
        """Let go of the connections; what is under way goes on to its end."""
        await self._hints.stop()
        await self._connections.close()

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
        async with self._connections.lend() as connection:
            return await self._hold(connection, make, in_turn=in_turn, within=self.answer_seconds)

    async def _hold(
        self, connection: Connection, make: Callable[[], Operation[T]], *, in_turn: bytes | None, within: float
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

    async def _converse(self, connection: Connection, operation: Operation[T]) -> Done[T]:
        try:
            query = next(operation)
            while True:
                query = operation.send(await _ask(connection, _rendered(self._dialect, query.sql), query.values))
        except StopIteration as end:
            done: Done[T] = end.value
            return done
        finally:
            operation.close()


async def _check_fitness(connection: Connection) -> None:
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


async def _ask(connection: Connection, sql: LiteralString, values: Mapping[str, Value]) -> Sequence[Row]:
    cursor = connection.cursor(binary=True)
    await cursor.execute(sql, {name: _storable(value) for name, value in values.items()})
    return () if cursor.rownumber is None else await cursor.fetchall()


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


def _to_store_error(error: psycopg.Error, *, may_have_happened: bool) -> StoreError:
    """Translate an error; one of severity FATAL may come after a commit, one of severity ERROR has undone it."""
    has_ended = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    is_undone = error.diag.severity_nonlocalized == "ERROR" or not has_ended
    text = one_line(error)
    if error.sqlstate is not None:
        text = f"{type(error).__name__} ({error.sqlstate})"
        if not error.sqlstate.startswith(_VALUES_IN_MESSAGE):
            text += f": {error.diag.message_primary}"
    return StoreError(f"PostgreSQL: {text}", is_certain=is_undone or not may_have_happened)
