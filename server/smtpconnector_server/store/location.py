"""Opening the store that the operator names, with the keys for what it holds."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from smtpconnector_server.store.keyring import Keyring, KeyringError, given_keys, holds_keys, kept_keys
from smtpconnector_server.store.sealing import Sealer, open_sealer
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smtpconnector_server.config.secret import Secret
    from smtpconnector_server.store.store import Store

MEMORY: Final = "memory"
"""The location of no store at all: nothing outlives a call."""
_POSTGRES: Final = frozenset({"postgresql", "postgres"})


class LocationError(ValueError):
    """The store cannot be opened; the text tells the operator why, and holds no password."""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store that is open, and what reads it."""

    store: Store
    sealer: Sealer


@asynccontextmanager
async def open_store(location: str, key: Secret | None) -> AsyncIterator[OpenStore | None]:
    """Open a store inside the context; None where the location is ``memory``.

    Args:
        location: ``memory``, a PostgreSQL URL, or the path of an SQLite file.
        key: The keys, or the path of their file. None: for SQLite, the file beside the store, made if it is missing.

    Raises:
        LocationError: It cannot be opened.
    """
    if is_memory(location):
        yield None
        return
    try:
        keyring = _keyring(location, key)
        store = await _open(location)
    except (KeyringError, StoreError) as error:
        raise LocationError(f"--store: {error}") from None
    try:
        try:
            sealer = await open_sealer(store, keyring)
        except (KeyringError, StoreError) as error:
            raise LocationError(f"--store: {error}") from None
        yield OpenStore(store, sealer)
    finally:
        await store.close()


def is_memory(location: str) -> bool:
    """Tell whether a location means that nothing is kept."""
    return location in {MEMORY, f":{MEMORY}:"}


def _is_postgres(location: str) -> bool:
    return urlsplit(location).scheme in _POSTGRES


def _keyring(location: str, key: Secret | None) -> Keyring:
    if key is not None:
        text = key.reveal()
        return given_keys(key if holds_keys(text) else Path(text))
    if _is_postgres(location):
        raise KeyringError(
            "a store on PostgreSQL needs --store-key FILE, the same on every server; make one by `(umask 077;"
            " smtpconnector store-key > store.key)`"
        )
    return kept_keys(Path(location))


async def _open(location: str) -> Store:
    if not _is_postgres(location):
        from smtpconnector_server.store.sqlite import SqliteStore  # noqa: PLC0415 - only where it is the one

        return await SqliteStore.open(Path(location))
    try:
        from smtpconnector_server.store.postgres import PostgresStore  # noqa: PLC0415 - an extra
    except ImportError:
        raise StoreError(
            "PostgreSQL needs a driver: pip install 'smtpconnector-server[postgres]'", is_certain=True
        ) from None
    return await PostgresStore.open(location)
