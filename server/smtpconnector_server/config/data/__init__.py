"""The data files of this room: facts and texts that are no code."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any


def read_text(name: str) -> str:
    """Return a data file's text."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def read_table(name: str) -> dict[str, Any]:  # Any: TOML
    """Return a TOML file's top table."""
    return tomllib.loads(read_text(name))
