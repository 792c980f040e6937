"""Durations as people type them."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(?P<count>\d{1,9})(?P<unit>[smhd])")


def duration(text: str) -> timedelta:
    """Read a duration such as ``90s``, ``10m``, ``2h`` or ``7d``; for ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("a duration is a number and a unit, such as 90s, 10m, 2h or 7d")
    return timedelta(seconds=int(match["count"]) * _UNITS[match["unit"]])
