"""The payload: JSON values that fill a template's placeholders.

Only own keys of objects and elements of arrays are ever looked up, never an attribute. Values print as JavaScript's
``String()`` prints them, so that a template renders here as it did under Logto.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from smtpconnector_server.failure import Violation
from smtpconnector_server.message.number import format_number

Json: TypeAlias = "bool | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A JSON value; objects are dicts and arrays are lists."""
Payload: TypeAlias = Mapping[str, Json]
_Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

MAX_DEPTH: Final = 16
MAX_OCTETS: Final = 64 * 1024
"""Of the payload as JSON in UTF-8."""

_ARRAY_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_NUMBER_OCTETS: Final = 8
_PRINTABLE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def text_at(payload: Payload, keys: tuple[str, ...]) -> str | None:
    """Return the text of the value at a path.

    Returns:
        None when the first key is not in the payload; the empty string when a later one is missing or the value is
        null.
    """
    if keys[0] not in payload:
        return None
    value = payload[keys[0]]
    for key in keys[1:]:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list):
            value = _element(value, key)
        else:
            return ""
    return "" if value is None else to_text(value)


def to_text(value: Json) -> str:
    """Return what JavaScript's ``String(value)`` gives; null inside an array is the empty string."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, list):
        return ",".join("" if element is None else to_text(element) for element in value)
    return "null" if value is None else "[object Object]"


def check_payload(payload: Payload) -> tuple[Violation, ...]:
    """Return what is wrong with a payload: size, depth, numbers that are not finite, text that is not Unicode.

    The size is that of the JSON text in UTF-8, estimated without writing it: escapes count as nothing and every number
    as eight octets. A size or depth over the limit ends the check.
    """
    violations: list[Violation] = []
    pending: list[tuple[_Path, Json]] = [((), payload)]
    octets = 0
    while pending:
        path, value = pending.pop()
        if isinstance(value, str):
            octets += _text_octets(value, path, violations)
        elif isinstance(value, dict | list):
            if len(path) >= MAX_DEPTH:
                return (*violations, Violation("payload", f"is nested deeper than {MAX_DEPTH} levels"))
            octets += 1 + max(len(value), 1)  # brackets and commas
            if isinstance(value, dict):
                for key in value:
                    octets += _text_octets(key, path, violations) + 1
                children = [((*path, key), child) for key, child in value.items()]
            else:
                children = [((*path, index), child) for index, child in enumerate(value)]
            pending.extend(reversed(children))
        elif isinstance(value, bool) or value is None:
            octets += 4
        else:
            octets += _NUMBER_OCTETS
            if not _is_finite(value):
                violations.append(Violation(_field(path), "is not a finite number"))
        if octets > MAX_OCTETS:
            return (*violations, Violation("payload", f"is larger than {MAX_OCTETS // 1024} KiB as JSON"))
    return tuple(violations)


def _element(array: list[Json], key: str) -> Json:
    if _ARRAY_INDEX.fullmatch(key):
        index = int(key)
        return array[index] if index < len(array) else None
    return len(array) if key == "length" else None


def _text_octets(text: str, path: _Path, violations: list[Violation]) -> int:
    if text.isascii():
        return len(text) + 2
    try:
        return len(text.encode()) + 2
    except UnicodeEncodeError:
        violations.append(Violation(_field(path), "is not Unicode text: it holds half of a surrogate pair"))
        return len(text) + 2


def _is_finite(number: object) -> bool:
    if not isinstance(number, int | float):
        return False
    try:
        return math.isfinite(number)
    except OverflowError:  # an int beyond every double
        return False


def _field(path: _Path) -> str:
    """Return a path as it may stand in an error: a caller's key can be anything."""
    shown = (str(key) if isinstance(key, int) or _PRINTABLE_KEY.fullmatch(key) else "?" for key in path)
    return ".".join(("payload", *shown))
