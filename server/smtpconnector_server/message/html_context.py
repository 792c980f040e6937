"""Where a placeholder stands in HTML, and what a value must go through to be only a value there.

Each place has one encoder, chosen when the template is compiled; with it no value can add an element, an attribute, a
script or a style to the document. The scanner follows tags, attributes, comments (conditional comments are read as the
mark-up that Outlook takes them for) and the raw text of ``style`` and ``script``, as the HTML standard's tokenizer does
for well-formed mails. It does not repair: in a template whose own quotes are unbalanced it may choose the encoder of
another place, and a URL inside ``meta refresh`` or ``srcset`` after the first is only escaped.
"""

from __future__ import annotations

import html
import re
from enum import Enum, auto
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from smtpconnector_server.message.html_value import (
    Encoder,
    escape_bare,
    escape_bare_first,
    guard_any,
    guard_code,
    guard_scheme,
    guard_url,
    guarded,
    verbatim,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def encoders(literals: Sequence[str]) -> list[Encoder]:
    """Return the encoder of each placeholder of an HTML text.

    Args:
        literals: The text between the placeholders: one more piece than there are placeholders.
    """
    scanner = _Scanner()
    found: list[Encoder] = []
    for literal, following in pairwise(literals):
        scanner.read(literal)
        found.append(scanner.encoder(following))
        scanner.pass_placeholder()
    return found


_URL_ATTRIBUTES: Final = frozenset(
    {
        *("action", "archive", "background", "cite", "classid", "codebase", "data", "dynsrc", "formaction", "href"),
        *("icon", "longdesc", "lowsrc", "manifest", "ping", "poster", "profile", "src", "srcset", "usemap"),
        "xlink:href",
    }
)
_CODE_ATTRIBUTES: Final = frozenset({"style", "srcdoc"})  # and those of events: on…
_RAW_TEXT_ELEMENTS: Final = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("style", "script")}
_FROM_PAYLOAD: Final = "?"
"""Stands for a placeholder in the name of a tag or an attribute, which may then be any."""

_BLANKS: Final = " \t\n\r\f"
_MARKUP: Final = re.compile(r"<(?:(!--)(?!\[if)|(?=[A-Za-z/!?]|\Z))", re.IGNORECASE)
_NAME_END: Final = re.compile(r"[\s/>=]", re.ASCII)
_UNQUOTED_END: Final = re.compile(r"[\s>]", re.ASCII)
_SCHEME_GOES_ON: Final = re.compile(r"[^:/?#\\\"'<>]*:")
"""A literal that makes what stands before it the scheme of a URL."""
_NOT_BLANK: Final = re.compile(r"[^\x00-\x20]")


class _Mode(Enum):
    TEXT = auto()
    RAW_TEXT = auto()
    COMMENT = auto()
    TAG = auto()
    """Inside ``<…>``, outside of attribute values."""
    BEFORE_VALUE = auto()
    """After the equals sign of an attribute."""
    UNQUOTED = auto()
    DOUBLE_QUOTED = auto()
    SINGLE_QUOTED = auto()


class _Scanner:
    """Follows the mark-up from literal to literal."""

    def __init__(self) -> None:
        self._mode = _Mode.TEXT
        self._steps: Final[dict[_Mode, Callable[[str, int], int]]] = {
            _Mode.TEXT: self._step_in_text,
            _Mode.RAW_TEXT: self._step_in_raw_text,
            _Mode.COMMENT: self._step_in_comment,
            _Mode.TAG: self._step_in_tag,
            _Mode.BEFORE_VALUE: self._step_before_value,
            _Mode.UNQUOTED: self._step_unquoted,
            _Mode.DOUBLE_QUOTED: self._step_double_quoted,
            _Mode.SINGLE_QUOTED: self._step_single_quoted,
        }
        """Each reads one token of a literal and returns the position behind it."""
        self._element = ""
        """Name of the tag being read, once its end is seen; ``/`` for an end tag."""
        self._name = ""
        """The tag's or attribute's name last read."""
        self._name_ended = False
        self._value_begun = False
        """Whether a literal other than blanks stands in the attribute's value already."""

    def read(self, literal: str) -> None:
        """Go on to the end of a literal."""
        position = 0
        while position < len(literal):
            position = self._steps[self._mode](literal, position)

    def encoder(self, following: str) -> Encoder:
        """Return the encoder of a placeholder that stands here, with this literal behind it."""
        if self._mode in (_Mode.TEXT, _Mode.COMMENT):
            return html.escape
        if self._mode is _Mode.RAW_TEXT:
            return guarded(guard_code, verbatim)
        if self._mode is _Mode.TAG:
            return escape_bare
        return self._encoder_in_value(following)

    def pass_placeholder(self) -> None:
        """Go on behind a placeholder."""
        if self._mode is _Mode.TAG:
            self._read_name(_FROM_PAYLOAD)
        elif self._mode is _Mode.BEFORE_VALUE:
            self._mode = _Mode.UNQUOTED

    def _encoder_in_value(self, following: str) -> Encoder:
        escape: Encoder = escape_bare if self._value_begun else escape_bare_first
        if self._mode in (_Mode.DOUBLE_QUOTED, _Mode.SINGLE_QUOTED):
            escape = html.escape
        if _FROM_PAYLOAD in self._name:
            return guarded(guard_any, escape)
        if self._name in _CODE_ATTRIBUTES or self._name.startswith("on"):
            return guarded(guard_code, escape)
        if self._name in _URL_ATTRIBUTES and not self._value_begun:
            return guarded(guard_scheme if _SCHEME_GOES_ON.match(following) else guard_url, escape)
        return escape

    def _step_in_text(self, literal: str, position: int) -> int:
        markup = _MARKUP.search(literal, position)
        if not markup:
            return len(literal)
        if markup[1]:
            self._mode = _Mode.COMMENT
        else:
            self._begin_tag()
        return markup.end()

    def _step_in_raw_text(self, literal: str, position: int) -> int:
        end = _RAW_TEXT_ELEMENTS[self._element].search(literal, position)
        if not end:
            return len(literal)
        self._begin_tag()
        return end.start() + 1

    def _step_in_comment(self, literal: str, position: int) -> int:
        end = literal.find("-->", position)
        if end < 0:
            return len(literal)
        self._mode = _Mode.TEXT
        return end + 3

    def _step_in_tag(self, literal: str, position: int) -> int:
        character = literal[position]
        if character == "=":
            self._mode = _Mode.BEFORE_VALUE
            self._value_begun = False
        elif character == ">":
            self._end_name()
            self._mode = _Mode.RAW_TEXT if self._element in _RAW_TEXT_ELEMENTS else _Mode.TEXT
        elif character == "/" or character in _BLANKS:
            self._end_name()
        else:
            end = _end(_NAME_END.search(literal, position), literal)
            self._read_name(literal[position:end].lower())
            return end
        return position + 1

    def _step_before_value(self, literal: str, position: int) -> int:
        position = _end(_NOT_BLANK.search(literal, position), literal)
        match literal[position : position + 1]:
            case "":
                return position
            case '"':
                self._mode = _Mode.DOUBLE_QUOTED
                return position + 1
            case "'":
                self._mode = _Mode.SINGLE_QUOTED
                return position + 1
            case _:
                self._mode = _Mode.UNQUOTED
                return position

    def _step_unquoted(self, literal: str, position: int) -> int:
        return self._step_in_value(literal, position, _end(_UNQUOTED_END.search(literal, position), literal))

    def _step_double_quoted(self, literal: str, position: int) -> int:
        return self._step_in_quotes('"', literal, position)

    def _step_single_quoted(self, literal: str, position: int) -> int:
        return self._step_in_quotes("'", literal, position)

    def _step_in_quotes(self, quote: str, literal: str, position: int) -> int:
        end = literal.find(quote, position)
        if end < 0:
            return self._step_in_value(literal, position, len(literal))
        return self._step_in_value(literal, position, end) + 1

    def _step_in_value(self, literal: str, position: int, end: int) -> int:
        if _NOT_BLANK.search(literal, position, end):
            self._value_begun = True
        if end < len(literal):
            self._mode = _Mode.TAG
            self._name_ended = True
        return end

    def _begin_tag(self) -> None:
        self._mode = _Mode.TAG
        self._element = self._name = ""
        self._name_ended = False

    def _read_name(self, text: str) -> None:
        self._name = text if self._name_ended else self._name + text
        self._name_ended = False

    def _end_name(self) -> None:
        self._element = self._element or self._name or "/"
        self._name_ended = True


def _end(match: re.Match[str] | None, literal: str) -> int:
    """Return where a literal's token ends: at the match, or with the literal."""
    return match.start() if match else len(literal)
