"""A clock of the servers that jumps: libfaketime, told by a file how far it is off."""

from __future__ import annotations

from pathlib import Path

_UNPACKED = Path(__file__).parents[2] / "build" / "servers"
_NAME = "lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """The time of day as the servers see it; intervals are not touched.

    Args:
        file: Tells how far it is off.
        library: Of libfaketime.
    """

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.move(0.0)

    def move(self, seconds: float) -> None:
        """Set how far it is off."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+.3f}\n", encoding="ascii")
        draft.replace(self._file)


def library() -> Path | None:
    """Return where libfaketime is, unpacked by scripts/install-test-servers or installed; None: nowhere."""
    return next((found for root in (_UNPACKED, Path("/")) for found in (root / "usr").glob(_NAME)), None)
