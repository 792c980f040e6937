"""JSON text as people write it: what is not JSON is told with its place and, where it is a common slip, its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from smtpconnector_server.config.intake import Json

_SLIPS: Final = (
    (("//", "/*", "#"), "JSON has no comments.", "Remove the comment."),
    (("'",), "Text stands in double quotes in JSON.", "Write \" in place of '."),
    (("\u201c", "\u201d", "\u2018", "\u2019"), "These are typographic quotes.", 'Write " in their place.'),
    (("True", "False", "None"), "JSON writes true, false and null.", "Write it in lower case."),
    (("NaN", "Infinity", "-Infinity"), "JSON has no such number.", "Write a finite number."),
)


class JsonTextError(ValueError):
    """A text that is not JSON; the message says where.

    Args:
        message: What is wrong, with line and column; nothing of the text.
        hint: What to change.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_json(text: str) -> Json:
    """Return the value of a JSON text.

    Raises:
        JsonTextError: It is not JSON, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except JsonTextError:
        raise
    except json.JSONDecodeError as error:
        slip, hint = _slip(text, error.pos)
        where = f"line {error.lineno}, column {error.colno}"
        raise JsonTextError(f"This is not JSON at {where}: {slip or error.msg + '.'}", hint) from None
    except RecursionError:
        raise JsonTextError("The JSON is nested too deep.") from None
    except ValueError:
        raise JsonTextError("The JSON holds a number with too many digits.") from None


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JsonTextError(
            f"An object has the key {json.dumps(twice[:64])} twice; which one counts is not defined.",
            "Remove one of them.",
        )
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise JsonTextError(f"JSON has no number {name}.", "Write a finite number.")


def _slip(text: str, position: int) -> tuple[str, str]:
    rest = text[position:].lstrip()
    for beginnings, slip, hint in _SLIPS:
        if rest.startswith(beginnings):
            return slip, hint
    # Python 3.13 points at the comma, older ones at what follows it.
    before = text[:position].rstrip()
    if (rest[:1] in ("}", "]") and before.endswith(",")) or (
        rest.startswith(",") and rest[1:].lstrip()[:1] in ("}", "]")
    ):
        return "There is a comma after the last item.", "Remove the comma."
    if not rest:
        return "The text ends too early.", "Close all quotes, brackets and braces."
    return "", ""
