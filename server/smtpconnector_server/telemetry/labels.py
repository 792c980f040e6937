"""Values of labels that stand for what has no name."""

from __future__ import annotations

from typing import Final

OWN: Final = "own"
"""Stands for the configurations that callers bring: as a profile, and as a server."""
OK: Final = "OK"
"""The reason of what succeeded."""
