"""What tells a new version of a file from the old one without reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

FileStamp: TypeAlias = "tuple[int, int, int]"


def file_stamp(file: Path) -> FileStamp | None:
    """Return the inode, size and time of change of a file. None: it cannot be looked at."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
