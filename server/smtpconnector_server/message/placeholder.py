"""A text with placeholders, compiled once and rendered many times.

Rendering is a single pass: what a value brings in is never read as a placeholder. It takes time linear in the text and
the result, and it knows how long the result will be before it builds it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Violation
from smtpconnector_server.message.html_value import Encoder, UnsafeValueError
from smtpconnector_server.message.payload import Payload, text_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.message.text_rule import TextRule

_JAVASCRIPT_SPACE: Final = r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
# Possessive, and its parts have no character in common: nothing is ever read twice.
_PLACEHOLDER: Final = re.compile(rf"(\{{\{{[{_JAVASCRIPT_SPACE}]*+([A-Za-z0-9_.]++)[{_JAVASCRIPT_SPACE}]*+\}}\}})")


@dataclass(frozen=True, slots=True)
class _Slot:
    """All places of a text that show the same value in the same way."""

    path: str
    keys: tuple[str, ...]
    encode: Encoder | None
    """None: the value stands as it is."""
    positions: tuple[int, ...]
    """Indices into the text's pieces."""
    written_length: int
    """Characters that its placeholders have as written, all together."""


class PlaceholderText:
    """A text with placeholders, ready to be rendered.

    Args:
        text: The text as written.
        name: What it is of the template, such as ``subject``.
        rule: What no value may contain.
        max_length: How many characters the rendered text may have.
        encoders: Chooses the encoder of each placeholder from the literals between them. None: values stand as they
            are.
    """

    __slots__ = ("_literal_length", "_max_length", "_pieces", "_rule", "_slots", "name")

    def __init__(
        self,
        text: str,
        *,
        name: str,
        rule: TextRule,
        max_length: int,
        encoders: Callable[[Sequence[str]], Sequence[Encoder]] | None = None,
    ) -> None:
        literals, written, paths = _split(text)
        chosen: Sequence[Encoder | None] = encoders(literals) if encoders else [None] * len(paths)
        positions: defaultdict[tuple[str, Encoder | None], list[int]] = defaultdict(list)
        self._pieces = literals[:1]
        for index, (placeholder, path, literal) in enumerate(zip(written, paths, literals[1:], strict=True)):
            positions[path, chosen[index]].append(len(self._pieces))
            self._pieces += (placeholder, literal)
        self._slots = tuple(
            _Slot(
                path, tuple(path.split(".")), encode, tuple(places), sum(len(self._pieces[place]) for place in places)
            )
            for (path, encode), places in positions.items()
        )
        self._literal_length = sum(map(len, literals))
        self.name = name
        self._rule = rule
        self._max_length = max_length

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths into the payload, each once, in the order in which they first occur."""
        return tuple(dict.fromkeys(slot.path for slot in self._slots))

    @property
    def literal(self) -> str:
        """All that stands outside of placeholders: it is in every rendered text."""
        return "".join(self._pieces[::2])

    def unresolved(self, payload: Payload) -> list[str]:
        """Return the paths whose placeholders stay as written, because the payload has no such root."""
        return [slot.path for slot in self._slots if slot.keys[0] not in payload]

    def render(self, payload: Payload, violations: list[Violation], field: str) -> str:
        """Return the text with the payload's values in it.

        Args:
            payload: The values.
            violations: Where to add what is wrong. The result may be used only when nothing was added.
            field: The path of the template that this text is of.
        """
        if not self._slots:
            return self._pieces[0]
        pieces = self._pieces.copy()  # a placeholder whose root is not in the payload stays as written
        length = self._literal_length
        for slot in self._slots:
            value = text_at(payload, slot.keys)
            if value is None:
                length += slot.written_length
            else:
                value = self._encode(value, slot, violations, field)
                length += len(value) * len(slot.positions)
                for position in slot.positions:
                    pieces[position] = value
            if length > self._max_length:
                problem = f"is longer than {self._max_length} characters once rendered"
                violations.append(Violation(f"{field}.{self.name}", problem))
                return ""
        return "".join(pieces)

    def _encode(self, value: str, slot: _Slot, violations: list[Violation], field: str) -> str:
        """Return a value as it stands in the text; the empty string when it may not."""
        problem = self._rule.problem(value)
        if problem is None:
            try:
                return slot.encode(value) if slot.encode else value
            except UnsafeValueError as error:
                problem = str(error)
        violations.append(Violation(f"payload.{slot.path}", f"{problem} ({field}.{self.name} shows it)"))
        return ""


def _split(text: str) -> tuple[list[str], list[str], list[str]]:
    """Return the literals, the placeholders as written between them, and the placeholders' paths."""
    tokens = _PLACEHOLDER.split(text)
    return tokens[0::3], tokens[1::3], tokens[2::3]
