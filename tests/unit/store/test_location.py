"""Where the operator says that messages are kept, and for how long."""

from __future__ import annotations

import sys
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.config.secret import Secret
from smtpconnector_server.settings import SettingsError, load_settings
from smtpconnector_server.store.location import LocationError, open_store

if TYPE_CHECKING:
    from pathlib import Path

KEY = Secret(f"one:{b64encode(bytes(32)).decode()}")
NOWHERE = "postgresql://ada:tiburon@127.0.0.1:1/mail"


@pytest.mark.parametrize("location", ["memory", ":memory:"])
async def test_memory_is_no_store(location: str) -> None:
    async with open_store(location, None) as kept:
        assert kept is None


async def test_a_path_is_a_file_of_sqlite_with_its_key_beside_it(tmp_path: Path) -> None:
    async with open_store(str(tmp_path / "mails.db"), None) as kept:
        assert kept is not None

    for name in ("mails.db", "mails.db.key"):
        assert tmp_path.joinpath(name).is_file()


async def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(LocationError, match=r"--store: .*No such file or directory"):
        async with open_store(str(tmp_path / "absent" / "mails.db"), None):
            pass


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_url_of_postgresql_without_its_driver_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for module in ("connections", "hints", "postgres"):
        monkeypatch.delitem(sys.modules, f"smtpconnector_server.store.{module}", raising=False)

    with pytest.raises(LocationError, match=r"pip install 'smtpconnector-server\[postgres\]'"):
        async with open_store(f"{scheme}://db/mail", KEY):
            pass


async def test_a_database_that_cannot_be_reached_is_said_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LocationError, match=r"--store: .*Connection refused") as raised:
        async with open_store(NOWHERE, KEY):
            pass

    assert "tiburon" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "seconds"), [("7d", 604800.0), ("12h", 43200.0), ("1.5 h", 5400.0), ("90m", 5400.0), ("3600", 3600.0)]
)
def test_a_retention_is_a_number_with_its_unit_or_of_seconds(given: str, seconds: float) -> None:
    assert load_settings({"store_retention": given}).store_retention == seconds


@pytest.mark.parametrize("given", ["a week", "7w", "", "-1d", "1s"])
def test_a_retention_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="store_retention"):
        load_settings({"store_retention": given})
