"""A database of each engine, for whatever keeps something in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.databases import sqlite_database
from harness.postgres_database import make_database, postgres_database
from harness.servers.needs import pytest_runtest_setup
from harness.servers.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from harness.databases import Database
    from harness.servers.postgres import Postgres

__all__ = ["pytest_runtest_setup"]  # pytest calls it


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that no test stops."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_name(postgres: Postgres) -> str:
    """A database that each test leaves empty."""
    return make_database(postgres)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_server("postgres"))])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each engine in turn."""
    making: AbstractAsyncContextManager[Database]
    if request.param == "sqlite":
        making = sqlite_database(tmp_path)
    else:
        making = postgres_database(request.getfixturevalue("postgres"), request.getfixturevalue("postgres_name"))
    async with making as database:
        yield database
