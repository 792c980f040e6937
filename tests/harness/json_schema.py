"""As much of a JSON Schema 2020-12 validator as the configuration's schema needs. An unknown keyword is an error."""

from __future__ import annotations

import re
from typing import Any

_ANNOTATIONS = {"$schema", "$defs", "title", "description", "deprecated"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def accepts(schema: Any, value: Any) -> bool:
    """Whether a value is valid under a schema, which is its own root."""
    return _Validator(schema).accepts(schema, value)


class _Validator:
    def __init__(self, root: Any) -> None:
        self._root = root

    def accepts(self, schema: Any, value: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        return all(
            self._keyword(keyword, argument, schema, value)
            for keyword, argument in schema.items()
            if keyword not in _ANNOTATIONS
        )

    def _keyword(self, keyword: str, argument: Any, schema: Any, value: Any) -> bool:  # noqa: C901, PLR0911, PLR0912
        match keyword:
            case "$ref":
                target = self._root
                for step in argument.removeprefix("#/").split("/"):
                    target = target[step]
                return self.accepts(target, value)
            case "type":
                return isinstance(value, _TYPES[argument]) and (argument == "boolean" or not isinstance(value, bool))
            case "enum":
                return any(_equal(value, item) for item in argument)
            case "const":
                return _equal(value, argument)
            case "anyOf":
                return any(self.accepts(item, value) for item in argument)
            case "allOf":
                return all(self.accepts(item, value) for item in argument)
            case "not":
                return not self.accepts(argument, value)
            case "if":
                branch = "then" if self.accepts(argument, value) else "else"
                return self.accepts(schema.get(branch, True), value)
            case "then" | "else":
                return True
            case "properties":
                return not isinstance(value, dict) or all(
                    self.accepts(item, value[key]) for key, item in argument.items() if key in value
                )
            case "additionalProperties":
                known = schema.get("properties", {})
                return not isinstance(value, dict) or all(
                    self.accepts(argument, item) for key, item in value.items() if key not in known
                )
            case "propertyNames":
                return not isinstance(value, dict) or all(self.accepts(argument, key) for key in value)
            case "required":
                return not isinstance(value, dict) or all(key in value for key in argument)
            case "items":
                return not isinstance(value, list) or all(self.accepts(argument, item) for item in value)
            case "contains":
                return not isinstance(value, list) or any(self.accepts(argument, item) for item in value)
            case "maxItems":
                return not isinstance(value, list) or len(value) <= argument
            case "minLength":
                return not isinstance(value, str) or len(value) >= argument
            case "maxLength":
                return not isinstance(value, str) or len(value) <= argument
            case "pattern":
                return not isinstance(value, str) or re.search(argument, value) is not None
            case "minimum":
                return not _is_number(value) or value >= argument
            case "maximum":
                return not _is_number(value) or value <= argument
            case _:
                raise AssertionError(f"the keyword {keyword} is not implemented")


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
