"""The engines of the store, each with an empty place for messages."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.party import Service, ours
from bench.process import Process
from harness.servers.postgres import running_postgres
from smtpconnector_server.store.keyring import fresh_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """A store that nobody has opened yet."""

    location: str
    key: Path
    database: Process | None = None
    """The database's own processes; None: it is a part of the service's."""

    def service(self) -> Service:
        """Return our service with this store."""
        command = ours("--store", self.location, "--store-key", str(self.key), "--grace", "0.5")
        return Service(name="ours", title=f"smtpconnector, {self.location.partition(':')[0]}", command=command)


class Engine(Protocol):
    """Something that keeps messages."""

    @property
    def title(self) -> str:
        """What it is called in tables."""

    def place(self, folder: Path) -> AbstractContextManager[Place]:
        """Make a place, which is there while the context is."""


class Sqlite:
    """A file."""

    title = "SQLite"

    @contextmanager
    def place(self, folder: Path) -> Iterator[Place]:
        """Make a place."""
        file = folder / f"store-{next(_numbers)}.db"
        yield Place(str(file), _key(folder))


class PostgreSql:
    """A PostgreSQL with nothing else to do, durable as in production."""

    title = "PostgreSQL"

    @contextmanager
    def place(self, folder: Path) -> Iterator[Place]:
        """Make a place."""
        with running_postgres() as server:
            yield Place(server.url(server.new_database()), _key(folder), Process(server.pid, 0.0))


def _key(folder: Path) -> Path:
    file = folder / f"key-{next(_numbers)}"
    file.touch(mode=0o600)
    file.write_text(fresh_key() + "\n", encoding="ascii")
    return file
