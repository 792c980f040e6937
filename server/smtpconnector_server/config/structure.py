"""An object against its shape: wrong types are reported and taken out, so that the rules see all that is left."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import ValidationError

from smtpconnector_server.config.draft import Said
from smtpconnector_server.config.path import child

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.shape import Shape

S = TypeVar("S", bound="Shape")
S2 = TypeVar("S2", bound="Shape")

_TYPE_NAMES: Final = {
    "string_type": "text",
    "bool_type": "true or false, without quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number, without quotes",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
_FAULTS: Final = {
    "literal_error": ("INVALID_VALUE", "must be {expected}"),
    "string_pattern_mismatch": ("INVALID_VALUE", "must be a port, from 1 to 65535"),
    "string_too_long": ("TOO_LARGE", "is longer than {max_length} characters"),
    "too_long": ("TOO_LARGE", "has more than {max_length} items"),
    "greater_than_equal": ("OUT_OF_RANGE", "must be {ge:g} or more"),
    "less_than_equal": ("OUT_OF_RANGE", "must be {le:.0f} or less"),
}


class Section(Generic[S]):
    """One object of a configuration: its values by attribute, each with its path.

    Args:
        shape: The object, checked.
        path: Where it stands.
        spoilt: The paths of values that were wrong and are gone; all sections of a configuration share the set.
    """

    def __init__(self, shape: S, path: str, spoilt: set[str]) -> None:
        self.shape = shape
        self.path = path
        self._spoilt = spoilt

    @classmethod
    def read(
        cls, shape: type[S], value: dict[str, Json], path: str, findings: Findings, spoilt: set[str]
    ) -> Section[S]:
        """Check an object, which is taken apart: what is wrong in it is reported and goes."""
        while True:
            try:
                return cls(shape.model_validate(value), path, spoilt)
            except ValidationError as error:
                # include_input: the value may be a secret.
                details = error.errors(include_url=False, include_context=True, include_input=False)
            # Each round takes out what is wrong, so there are never more rounds than values.
            for steps, errors in _by_place(details, value).items():
                place = path
                for step in steps:
                    place = child(place, step)
                findings.error(place, *_describe(place, errors, _at(value, steps)))
                spoilt.add(place)
                _take_out(value, steps, errors)

    def said(self, attribute: str) -> Said[Any]:
        """Return what was said of an attribute. Empty text counts as nothing."""
        path = self.key_path(attribute)
        value = getattr(self.shape, attribute)
        return Said(path, None if value == "" else value, is_spoilt=self.is_spoilt(path))

    def key_path(self, attribute: str) -> str:
        """Return the path of an attribute, whether it is there or not."""
        return child(self.path, type(self.shape).model_fields[attribute].alias or attribute)

    def is_spoilt(self, path: str) -> bool:
        """Whether the value at a path was wrong, which has been reported."""
        return path in self._spoilt

    def item(self, shape: S2, path: str) -> Section[S2]:
        """Return a nested object that was checked together with this one."""
        return Section(shape, path, self._spoilt)

    def read_item(self, shape: type[S2], value: dict[str, Json], path: str, findings: Findings) -> Section[S2]:
        """Return a nested object that is still to be checked."""
        return Section.read(shape, value, path, findings, self._spoilt)

    def unknown_keys(self) -> Iterable[str]:
        """Return the keys that the shape does not name."""
        return (self.shape.model_extra or {}).keys()

    def unknown_value(self, key: str) -> Json:
        """Return the value of a key that the shape does not name."""
        return (self.shape.model_extra or {}).get(key)


def _by_place(details: list[ErrorDetails], value: Json) -> dict[tuple[str | int, ...], list[ErrorDetails]]:
    """Group errors by the place in the object, which pydantic's locations name together with arms of unions."""
    places: defaultdict[tuple[str | int, ...], list[ErrorDetails]] = defaultdict(list)
    for detail in details:
        steps: list[str | int] = []
        here = value
        for step in detail["loc"]:
            is_key = isinstance(here, dict) and step in here
            is_index = isinstance(here, list) and isinstance(step, int)
            if is_key or is_index:
                here = here[step]
                steps.append(step)
        places[tuple(steps)].append(detail)
    # The arm that a value was meant for is the one that got furthest into it.
    on_the_way = {place[:length] for place in places for length in range(len(place))}
    return {place: errors for place, errors in places.items() if place not in on_the_way}


def _describe(place: str, errors: list[ErrorDetails], value: Json) -> tuple[str, ...]:
    """Return the reason, the message and perhaps a hint."""
    if isinstance(value, dict) and value.keys() == {"file"}:
        return "NOT_ALLOWED", f"{place} names a file; files are read for profiles of the server only.", "Give the text."
    precise = [error for error in errors if error["type"] not in _TYPE_NAMES]
    if not precise:
        names = dict.fromkeys(_TYPE_NAMES[error["type"]] for error in errors)
        return "WRONG_TYPE", f"{place} must be {' or '.join(names)}."
    error = precise[0]
    reason, message = _FAULTS.get(error["type"], ("INVALID_VALUE", "is not valid"))
    return reason, f"{place} {message.format_map(error.get('ctx', {}))}."


def _at(value: Json, steps: tuple[str | int, ...]) -> Json:
    for step in steps:
        value = value[step]
    return value


def _take_out(value: Json, steps: tuple[str | int, ...], errors: list[ErrorDetails]) -> None:
    *way, last = steps
    value = _at(value, tuple(way))
    if isinstance(value, list):
        # Nothing may move up: paths name items by their index.
        value[int(last)] = {} if any(error["type"] == "model_type" for error in errors) else ""
    else:
        value[last] = None
