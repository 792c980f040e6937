"""Encoded words (RFC 2047): text beyond printable ASCII in headers.

A text is encoded as a whole, and a word never ends within a character: the words decode to the very text, whatever the
decoder does between them.
"""

from __future__ import annotations

import binascii
import string
from typing import Final

_MAX_ENCODED: Final = 40
"""Of a word's encoded text; the word has 12 characters more and fits behind any header name of ours on one line."""
_MAX_BASE64_OCTETS: Final = 30

_LETTERS: Final = string.ascii_letters.encode()
_CONTROLS: Final = bytes(code for code in range(0x20) if code not in b"\t\n\r")
_FIRST_OCTETS: Final = bytes(range(0xC0, 0x100))
_FIRST_OCTETS_OF_FOUR: Final = bytes(range(0xF0, 0x100))
_CONTINUATION_MASK: Final = 0xC0
_CONTINUATION: Final = 0x80

# What may stand for itself in a word of a phrase (RFC 2047, section 5, rule 3).
_SELF: Final = {character: character for character in string.ascii_letters + string.digits + "!*+-/"} | {" ": "_"}


def encode_words(text: str) -> str:
    """Return a text as encoded words with a space between each two."""
    octets = text.encode()
    if is_mostly_latin(octets):
        return " ".join(f"=?UTF-8?Q?{piece}?=" for piece in _q_pieces(text))
    return " ".join(f"=?UTF-8?B?{piece}?=" for piece in _b_pieces(octets))


def is_mostly_latin(octets: bytes) -> bool:
    """Tell whether ASCII letters outnumber controls and characters beyond ASCII, so that people can read it quoted.

    Args:
        octets: The text in UTF-8. A character beyond the basic plane counts twice, as it does in JavaScript.
    """
    others = _count(octets, _CONTROLS) + _count(octets, _FIRST_OCTETS) + _count(octets, _FIRST_OCTETS_OF_FOUR)
    return _count(octets, _LETTERS) > others


def _count(octets: bytes, which: bytes) -> int:
    return len(octets) - len(octets.translate(None, which))


def _q_pieces(text: str) -> list[str]:
    pieces: list[str] = []
    piece = ""
    for character in text:
        encoded = _SELF.get(character) or "".join([f"={octet:02X}" for octet in character.encode()])
        if len(piece) + len(encoded) > _MAX_ENCODED:
            pieces.append(piece)
            piece = ""
        piece += encoded
    return [*pieces, piece]


def _b_pieces(octets: bytes) -> list[str]:
    pieces: list[str] = []
    start = 0
    while start < len(octets):
        end = start + _MAX_BASE64_OCTETS
        while end < len(octets) and octets[end] & _CONTINUATION_MASK == _CONTINUATION:
            end -= 1
        pieces.append(binascii.b2a_base64(octets[start:end], newline=False).decode("ascii"))
        start = end
    return pieces
