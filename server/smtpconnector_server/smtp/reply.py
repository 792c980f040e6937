"""A reply of an SMTP server (RFC 5321, section 4.2; enhanced codes: RFC 3463 and RFC 2034).

What a server says is foreign text: only a sanitised form of it ever leaves this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXT: Final = 256
"""Characters of text kept: it travels in error details, which have to stay small."""

_ENHANCED_CODE: Final = re.compile(rb"(([245])\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete, well-formed reply."""

    code: int
    """Three digits, 200 to 599."""
    enhanced_code: str = ""
    """Such as ``5.7.8``; empty when the server gave none."""
    text: str = ""
    """The text without codes, lines joined by a space, sanitised: printable ASCII only, at most 256 characters."""

    @classmethod
    def from_line(cls, code: int, text: bytes) -> Reply:
        """Make a reply of one line: of its code and of what follows the code and the blank."""
        enhanced_code, rest = _split(code, text)
        return cls(code, enhanced_code, _sanitised(rest))

    @classmethod
    def from_lines(cls, code: int, texts: Iterable[bytes]) -> Reply:
        """Make a reply of its code and of what follows the code and the separator in each line."""
        split = [_split(code, text) for text in texts]
        enhanced_code = next((enhanced for enhanced, _ in split if enhanced), "")
        return cls(code, enhanced_code, _sanitised(b" ".join(rest for _, rest in split)))

    @property
    def is_positive(self) -> bool:
        """The command was carried out (2yz)."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321, section 4.2.1

    @property
    def is_intermediate(self) -> bool:
        """The command was understood and the server waits for more (3yz)."""
        return 300 <= self.code < 400  # noqa: PLR2004 - RFC 5321, section 4.2.1

    @property
    def is_transient(self) -> bool:
        """Refused for now (4yz)."""
        return 400 <= self.code < 500  # noqa: PLR2004 - RFC 5321, section 4.2.1

    @property
    def is_permanent(self) -> bool:
        """Refused for good (5yz)."""
        return self.code >= 500  # noqa: PLR2004 - RFC 5321, section 4.2.1

    @property
    def codes(self) -> str:
        """Both codes as one word or two, for messages."""
        return f"{self.code} {self.enhanced_code}" if self.enhanced_code else str(self.code)


def _split(code: int, text: bytes) -> tuple[str, bytes]:
    """Return the enhanced code that a line's text begins with, empty where there is none, and the rest."""
    found = _ENHANCED_CODE.match(text)
    # RFC 2034, section 4: both first digits have to agree. Where they do not, the basic code is trusted.
    if found is None or int(found[2]) != code // 100:
        return "", text
    return found[1].decode(), text[found.end() :]


def _sanitised(text: bytes) -> str:
    shown = text[: 4 * MAX_TEXT].decode(errors="replace").strip()
    if not (shown.isascii() and shown.isprintable()):
        shown = _UNPRINTABLE.sub("?", shown.replace("\t", " "))
    return shown[:MAX_TEXT]
