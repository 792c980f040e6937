"""Header fields (RFC 5322): their text encoded, their lines folded.

What goes in is plain text and is never read as encoded: a text that looks like an encoded word is itself encoded, so no
decoder finds in a header what the writer did not put there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.message.encoded_word import encode_words

if TYPE_CHECKING:
    from smtpconnector_server.message.address import Address, Mailbox

MAX_LINE_OCTETS: Final = 998  # RFC 5322, section 2.1.1
_FOLD_AT: Final = 76  # RFC 2047, section 2: the limit of a line with an encoded word

_BARE_PHRASE: Final = re.compile(r"[A-Za-z0-9_]+(?: [A-Za-z0-9_]+)*")
_QUOTED_IN_PHRASE: Final = re.compile(r'["\\]')
_QUOTED_PAIR: Final = r"\\\g<0>"


def header_line(name: str, value: str, *, opaque: bool = False) -> str:
    """Return a header field with its CRLF, folded at 76 characters where a space allows it.

    Args:
        name: The field's name.
        value: Its value, encoded.
        opaque: Fold plain text only where a line would grow past 998 characters, so that no line begins with a word of
            it. Encoded words are folded as ever; they look like no command.
    """
    line = f"{name}: {value}"
    if len(line) <= _FOLD_AT:
        return line + "\r\n"
    is_encoded = value.startswith("=?")  # plain text that does is encoded
    return _fold(line, len(name) + 2, MAX_LINE_OCTETS if opaque and not is_encoded else _FOLD_AT) + "\r\n"


def encode_text(text: str) -> str:
    """Return a text as the value of an unstructured field, such as Subject."""
    if _is_plain(text) and text == text.strip(" "):  # readers drop blanks at the ends
        return text
    return encode_words(text)


def encode_phrase(name: str) -> str:
    """Return a display name as a phrase: bare words, a quoted string or encoded words."""
    if _BARE_PHRASE.fullmatch(name):
        return name
    if _is_plain(name):
        return f'"{_QUOTED_IN_PHRASE.sub(_QUOTED_PAIR, name)}"'
    return encode_words(name)


def format_address(address: Address) -> str:
    """Return an address as the value of a field; one with a quoted local part goes in angle brackets."""
    return f"<{address}>" if address.local.startswith('"') else str(address)


def format_mailbox(mailbox: Mailbox) -> str:
    """Return a mailbox as the value of a field. Reading it back gives one mailbox with the same address."""
    if not mailbox.name:
        return format_address(mailbox.address)
    return f"{encode_phrase(mailbox.name)} <{mailbox.address}>"


def _is_plain(text: str) -> bool:
    """Tell whether a text is printable ASCII without anything that a decoder could take for an encoded word."""
    return text.isascii() and text.isprintable() and "=?" not in text


def _fold(line: str, first: int, limit: int) -> str:
    """Break a line before blanks so that each piece has at most ``limit`` characters, if there are blanks to do it.

    Args:
        line: The whole field.
        first: Where the value begins: nothing is broken before it.
        limit: Characters of a line.
    """
    lines: list[str] = []
    while len(line) > limit:
        cut = line.rfind(" ", first, limit + 1)
        if cut < 0:
            cut = line.find(" ", max(first, limit))
        if cut < 0:
            break
        while line[cut - 1] == " ":  # a line must not end in a blank, for it could be lost on the way
            cut -= 1
        lines.append(line[:cut])
        line = line[cut:]
        first = len(line) - len(line.lstrip(" "))
    return "\r\n".join([*lines, line])
