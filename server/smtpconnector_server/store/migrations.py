"""The store's schema, brought up to date by numbered files that are never changed once released.

Each file is applied once, all that are missing in one transaction; a store that a newer program has made is refused.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from smtpconnector_server.store.operations import Done, Operation, Query
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREATE: Final = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"
_VERSION: Final = "SELECT max(version) FROM schema_version"
_APPLIED: Final = "INSERT INTO schema_version (version) VALUES (:version)"


def migrate() -> Operation[None]:
    """Apply what is missing. The engine lets only one process do it at a time, in one transaction.

    Raises:
        StoreError: The store is newer than this program.
    """
    files = _files()
    yield Query(_CREATE, {})
    ((version,),) = yield Query(_VERSION, {})
    if (version or 0) > max(files):
        raise StoreError(
            f"the store has schema {version}, made by a newer smtpconnector; this one knows schemas up to "
            f"{max(files)}. Run the newer program, or give this one a store of its own",
            is_certain=True,
        )
    for number in range((version or 0) + 1, max(files) + 1):
        for statement in files[number].split(";\n"):
            if statement.strip():
                yield Query(statement, {})
        yield Query(_APPLIED, {"version": number})
    return Done(None)


def _files() -> Mapping[int, str]:
    """Return the text of each file by its number."""
    folder = resources.files("smtpconnector_server.store") / "schema"
    return {
        int(file.name[:4]): file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")
    }
