"""Bodies (RFC 2045): lines that end in CRLF, octets that every server carries unchanged.

Whatever the text, the result is ASCII without NUL, bare CR or bare LF, in lines of at most 76 octets, and ends in CRLF.
"""

from __future__ import annotations

import binascii
import re
from enum import StrEnum
from typing import Final

from smtpconnector_server.message.encoded_word import is_mostly_latin

_MAX_LINE: Final = 76  # RFC 2045, section 6.7, rule 5; longer lines than that are encoded
_DELETE: Final = b"\x7f"
# CPython's encoder does not count the two characters by which a blank at the end of a line grows.
_OVERLONG_END: Final = re.compile(rb"=(20|09)\r\n(?<=[^\r\n]{74}=..\r\n)")


class TransferEncoding(StrEnum):
    """The value of Content-Transfer-Encoding."""

    SEVEN_BIT = "7bit"
    QUOTED_PRINTABLE = "quoted-printable"
    BASE64 = "base64"


def encode_body(octets: bytes, *, opaque: bool = False) -> tuple[TransferEncoding, bytes]:
    """Return a body as it goes on the wire, and how it is encoded: as readable as its text allows.

    Args:
        octets: The text in UTF-8, with line ends of any kind; a last one is added where it is missing.
        opaque: Encode in base64 whatever the text. No line can then be read as an SMTP command, whoever wrote the
            text: lines hold no blank, and the last one, which alone may be as short as a command, ends with the CRLF
            of the text, which encodes to ``0K``, ``DQo=`` or ``Cg==``.
    """
    octets = _canonical(octets)
    if opaque:
        return TransferEncoding.BASE64, _base64(octets)
    if octets.isascii() and _DELETE not in octets and max(map(len, octets.split(b"\r\n"))) <= _MAX_LINE:
        return TransferEncoding.SEVEN_BIT, octets
    if is_mostly_latin(octets):
        return TransferEncoding.QUOTED_PRINTABLE, _quoted_printable(octets)
    return TransferEncoding.BASE64, _base64(octets)


def _canonical(octets: bytes) -> bytes:
    """Return a text with every line end, lone CR and LF included, as CRLF, and one at its end."""
    if b"\r" in octets:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    octets = octets.replace(b"\n", b"\r\n")
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def _quoted_printable(octets: bytes) -> bytes:
    return _OVERLONG_END.sub(rb"=\r\n=\1\r\n", binascii.b2a_qp(octets))


def _base64(octets: bytes) -> bytes:
    encoded = binascii.b2a_base64(octets, newline=False)
    lines = [encoded[start : start + _MAX_LINE] for start in range(0, len(encoded), _MAX_LINE)]
    return b"\r\n".join([*lines, b""])
