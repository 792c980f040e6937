"""Paths of fields in the caller's own form, such as ``templates[2].contentType``."""

from __future__ import annotations

import json
import re
from typing import Final

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LONGEST_KEY: Final = 64


def child(parent: str, key: str | int) -> str:
    """Return the path of a key of an object, or of an item of a list.

    A key that is no plain name is quoted and cut short: it is the caller's text, and paths end up in logs.
    """
    if isinstance(key, int):
        return f"{parent}[{key}]"
    if not _PLAIN_KEY.fullmatch(key):
        return f"{parent}[{json.dumps(key[:_LONGEST_KEY])}]"
    return f"{parent}.{key}" if parent else key
