"""The first look at a caller's object: is it plain JSON of a bearable size?

What comes out is a copy that later steps may take apart: integral doubles are ints (a protobuf Struct knows doubles
only), and nothing in it is deeper, larger or stranger than they expect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from smtpconnector_server.config.path import child

# Any: JSON of unknown shape, until the shape has been checked.
Json: TypeAlias = Any

MOST_OCTETS: Final = 1024 * 1024
_DEEPEST: Final = 16  # the deepest key that means something is on level 4
_MOST_VALUES: Final = 20_000


class UnfitError(ValueError):
    """An object that is not even looked at any further.

    Args:
        path: Where the trouble is.
        reason: A stable name of the trouble, as in a finding.
        message: What is wrong.
    """

    def __init__(self, path: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason
        self.message = message


def admit(value: object) -> dict[str, Json]:
    """Return a plain copy of a JSON object.

    Raises:
        UnfitError: It is no object, too large, too deep, or holds what JSON cannot.
    """
    if not isinstance(value, Mapping):
        raise UnfitError("", "WRONG_TYPE", "The configuration must be an object.")
    copy: dict[str, Json] = _Intake().copy(value, "", 0)
    return copy


class _Intake:
    def __init__(self) -> None:
        self._octets_left = MOST_OCTETS
        self._values_left = _MOST_VALUES

    def copy(self, value: object, path: str, depth: int) -> Json:
        self._values_left -= 1
        if self._values_left < 0:
            raise UnfitError("", "TOO_LARGE", f"The configuration holds more than {_MOST_VALUES} values.")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, (int, float)):
            return _number(value, path)
        if depth >= _DEEPEST:
            raise UnfitError("", "TOO_LARGE", f"The configuration is nested more than {_DEEPEST} levels deep.")
        if isinstance(value, Mapping):
            return self._object(value, path, depth)
        if isinstance(value, (list, tuple)):
            return [self.copy(item, child(path, index), depth + 1) for index, item in enumerate(value)]
        raise UnfitError(path, "WRONG_TYPE", "The value is none that JSON has.")

    def _object(self, value: Mapping[object, object], path: str, depth: int) -> dict[str, Json]:
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise UnfitError(path, "WRONG_TYPE", "Every key must be text.")
            copy[self._text(key, path)] = self.copy(item, child(path, key), depth + 1)
        return copy

    def _text(self, text: str, path: str) -> str:
        try:
            self._octets_left -= len(text.encode())
        except UnicodeEncodeError:
            raise UnfitError(path, "INVALID_TEXT", "The text holds half of a surrogate pair.") from None
        if self._octets_left < 0:
            raise UnfitError("", "TOO_LARGE", f"The configuration holds more than {MOST_OCTETS // 1024} KiB of text.")
        return text


def _number(number: float, path: str) -> int | float:
    if isinstance(number, int):
        return number
    if not math.isfinite(number):
        raise UnfitError(path, "OUT_OF_RANGE", "The number is not finite.")
    return int(number) if number.is_integer() else number
