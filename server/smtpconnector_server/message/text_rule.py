"""Which characters a text of the mail may not contain. A text that breaks its rule is refused, never repaired."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class TextRule:
    """A rule for one kind of text."""

    forbidden: re.Pattern[str]
    description: str
    """What is wrong with a text that breaks it, such as ``contains a line break``."""

    def problem(self, text: str) -> str | None:
        """Return what is wrong with a text, or None."""
        return self.description if self.forbidden.search(text) else None


# C0, DEL, C1, the line separators, the characters that turn the direction of writing, halves of surrogate pairs.
_NOT_IN_HEADERS: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"

HEADER_TEXT: Final = TextRule(
    re.compile(f"[{_NOT_IN_HEADERS}]"),
    "contains a line break, a control character or a character that changes the direction of writing",
)
"""For a subject or another header's text. Joiners may stand here: emoji and Persian or Indic words need them."""

DISPLAY_NAME: Final = TextRule(
    re.compile(rf"[{_NOT_IN_HEADERS}\u200b-\u200f\ufeff]"),
    "contains a line break, a control character, or an invisible or direction-changing character",
)
"""For a display name, where what cannot be seen serves forgery."""

BODY_TEXT: Final = TextRule(
    re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]"),
    "contains a control character other than tab and line ends",
)
"""For a body."""
