"""Where the programs of real servers are: unpacked by scripts/install-test-servers, or installed."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

_UNPACKED = Path(__file__).parents[3] / "build" / "servers"
_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib/postfix/sbin")


class MissingServerError(Exception):
    """A server cannot be started on this machine; the message says why."""


@functools.cache
def program(*names: str) -> Path:
    """Return the program of the first of these names that is found.

    Raises:
        MissingServerError: There is none.
    """
    places = [place for root in (_UNPACKED, Path("/")) for place in _places(root)]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
    for name in names:
        found = shutil.which(name, path=path)
        if found is not None:
            return Path(found)
    raise MissingServerError(f"there is no program {' or '.join(names)}: run scripts/install-test-servers as root")


def _places(root: Path) -> list[Path]:
    """Return the folders of programs; Debian keeps PostgreSQL's by version, of which the newest comes first."""
    versions = sorted(root.glob("usr/lib/postgresql/*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    return [*(root / folder for folder in _FOLDERS), *versions]


def environment() -> dict[str, str]:
    """Return what the unpacked programs need to find their own libraries."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LD_LIBRARY_PATH": str(_UNPACKED / "usr/lib/postfix")}
