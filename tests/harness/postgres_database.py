"""A database of PostgreSQL for the tests of the store: empty, with a clock that the test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from smtpconnector_server.store.postgres import DIALECT, PostgresStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.servers.postgres import Postgres

_CLOCK = """
CREATE TABLE test_clock (micros BIGINT NOT NULL);
INSERT INTO test_clock VALUES (1800000000000000);
CREATE FUNCTION test_now() RETURNS BIGINT STABLE LANGUAGE SQL AS 'SELECT micros FROM test_clock';
"""
_EMPTY = """
DELETE FROM delivery; DELETE FROM server; DELETE FROM rate; DELETE FROM pause; DELETE FROM constant;
UPDATE test_clock SET micros = 1800000000000000;
"""
STANDING = replace(DIALECT, now="test_now()")
"""With a clock that stands still unless it is moved."""


class PostgresDatabase:
    """A database of a running server.

    Args:
        server: Where it is.
        name: Its name.
        port: Through which stores reach it, where that is not the server's own.
    """

    def __init__(self, server: Postgres, name: str, *, port: int | None = None) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name, port=port)
        self._stores: list[PostgresStore] = []

    async def open(self) -> PostgresStore:
        store = await PostgresStore.open(self.url, dialect=STANDING)
        self._stores.append(store)
        return store

    async def now(self) -> float:
        ((micros,),) = await self.ask("SELECT micros FROM test_clock")
        return float(micros / 1_000_000)

    async def advance(self, seconds: float) -> None:
        await self.ask("UPDATE test_clock SET micros = micros + %s RETURNING micros", round(seconds * 1_000_000))

    async def close(self) -> None:
        for store in self._stores:
            await store.close()

    async def ask(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as another client would, and return its rows."""
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name), autocommit=True) as connection:
            return await (await connection.execute(statement, values)).fetchall()


@asynccontextmanager
async def postgres_database(server: Postgres, name: str, *, port: int | None = None) -> AsyncIterator[PostgresDatabase]:
    """Have a database of a server that nobody else uses; empty it in the end, which is quicker than a new one.

    Args:
        server: Where it is.
        name: What :func:`make_database` returned.
        port: Through which stores reach it.
    """
    database = PostgresDatabase(server, name, port=port)
    try:
        yield database
    finally:
        await database.close()
        server.execute(_EMPTY, name)


def make_database(server: Postgres) -> str:
    """Make a database with a clock and return its name."""
    name = server.new_database()
    server.execute(_CLOCK, name)
    return name
