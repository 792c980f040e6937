"""A database of each engine for the tests of the store: empty, with a clock that the test moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from smtpconnector_server.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smtpconnector_server.store.store import Store


class Database(Protocol):
    """What a test of the store needs beside the store."""

    async def open(self) -> Store:
        """Return one more store on the same database, as another server has it."""

    async def now(self) -> float:
        """Return the time by the stores' clock."""

    async def advance(self, seconds: float) -> None:
        """Move that clock, back if negative."""


class SqliteDatabase:
    """A file, and a clock that stands still unless it is moved."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.time = 1_800_000_000.0
        self._stores: list[SqliteStore] = []

    async def open(self) -> SqliteStore:
        store = await SqliteStore.open(self.file, clock=lambda: self.time)
        self._stores.append(store)
        return store

    async def now(self) -> float:
        return self.time

    async def advance(self, seconds: float) -> None:
        self.time += seconds

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


@asynccontextmanager
async def sqlite_database(folder: Path) -> AsyncIterator[SqliteDatabase]:
    """Have an empty database in a file."""
    database = SqliteDatabase(folder / "store.db")
    try:
        yield database
    finally:
        await database.close()
