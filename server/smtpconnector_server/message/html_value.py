"""What a value goes through before it stands in HTML: an escape, and a guard where no escape is enough.

Whatever passes stays a value: it cannot add an element, an attribute, a script or a style.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

Encoder: TypeAlias = Callable[[str], str]


class UnsafeValueError(ValueError):
    """A value that no escaping makes safe where it would stand; the text says why, without the value."""


_NO_WORD: Final = re.compile(r"[\W_]")
_C1: Final = range(0x80, 0xA0)
_URL_SCHEMES: Final = frozenset({"http", "https", "mailto"})
_SCHEME: Final = re.compile(r"([^:/?#\\]*):")
_IGNORED_IN_SCHEME: Final = re.compile(r"[^\x21-\x7e]+")
_CODE: Final = re.compile(r"[\x00-\x1f\x7f;{}()\"'`\\<>@*]")


def escape_bare(value: str) -> str:
    """Escape for a place without quotes, which a blank of any kind, a quote or an equals sign could end."""
    return _NO_WORD.sub(_reference, value)


def escape_bare_first(value: str) -> str:
    """Escape for the beginning of a value without quotes; were it empty, the next attribute would become the value."""
    return escape_bare(value) or "&#32;"


def _reference(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in _C1:  # readers take references to them for characters of Windows-1252
        raise UnsafeValueError("contains a control character, and stands in mark-up without quotes")
    return f"&#{code};"


def verbatim(value: str) -> str:
    """Leave as it is: raw text has no escapes, and :func:`guard_code` has refused what could end it."""
    return value


def guard_url(value: str) -> None:
    """Refuse a URL that runs code or reads local data. Browsers skip blanks and controls in a scheme, so this does."""
    scheme = _SCHEME.match(_IGNORED_IN_SCHEME.sub("", value))
    if scheme and scheme[1].lower() not in _URL_SCHEMES:
        raise UnsafeValueError("is used as a link, and only http:, https: and mailto: are allowed there")


def guard_scheme(value: str) -> None:
    """Refuse what the colon behind the placeholder makes the scheme of a URL, unless of the web or a mailbox."""
    if _IGNORED_IN_SCHEME.sub("", value).lower() not in _URL_SCHEMES:
        raise UnsafeValueError("is used as the scheme of a link, and only http, https and mailto are allowed there")


def guard_code(value: str) -> None:
    """Refuse what could end a declaration or call a function: CSS and scripts know no escape that always holds."""
    if _CODE.search(value):
        raise UnsafeValueError(
            "is used inside a style or a script, where brackets, quotes, semicolons, @, * and \\ are not allowed"
        )


def guard_any(value: str) -> None:
    """Refuse what any attribute could misuse, where a placeholder in its name leaves open which one it is."""
    guard_url(value)
    guard_code(value)


@cache  # one object for each pair, so that equal places are seen to be equal
def guarded(guard: Callable[[str], None], escape: Encoder) -> Encoder:
    """Return an encoder that guards, then escapes."""

    def encode(value: str) -> str:
        guard(value)
        return escape(value)

    return encode
