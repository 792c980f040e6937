"""Where the programs of real SMTP servers are: unpacked by scripts/install-test-servers, or installed."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

_UNPACKED = Path(__file__).parents[3] / "build" / "servers"
_FOLDERS = ("usr/sbin", "usr/lib/postfix/sbin")


class MissingServerError(Exception):
    """A server cannot be started on this machine; the message says why."""


@functools.cache
def program(*names: str) -> Path:
    """Return the program of the first of these names that is found.

    Raises:
        MissingServerError: There is none.
    """
    places = [root / folder for root in (_UNPACKED, Path("/")) for folder in _FOLDERS]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
    for name in names:
        found = shutil.which(name, path=path)
        if found is not None:
            return Path(found)
    raise MissingServerError(f"there is no program {' or '.join(names)}: run scripts/install-test-servers as root")


def environment() -> dict[str, str]:
    """Return what the unpacked programs need to find their own libraries."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LD_LIBRARY_PATH": str(_UNPACKED / "usr/lib/postfix")}
