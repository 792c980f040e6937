"""What a server said of itself in its last EHLO reply (RFC 5321, section 4.1.1.1).

It is foreign text, sanitised here, and it may lie: nothing is believed but what costs no correctness if it is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_MECHANISM: Final = re.compile(r"[A-Z0-9_-]{1,20}")
"""RFC 4422, section 3.1."""
_MAX_SIZE_DIGITS: Final = 18
"""What fits a signed 64-bit number; RFC 1870, section 4, allows 20 digits, which no server means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The extensions of a server, and the TLS that they were told under."""

    extensions: tuple[str, ...] = ()
    """Keywords in capitals with their parameters, such as ``SIZE 35882577``, in the server's order."""
    auth_mechanisms: tuple[str, ...] = ()
    """In capitals, in the server's order."""
    max_message_size: int = 0
    """Octets. 0: no limit is named."""
    tls_version: str = ""
    """Such as ``TLSv1.3``. Empty: no TLS."""
    starttls: bool = False
    pipelining: bool = False
    chunking: bool = False
    smtputf8: bool = False
    eight_bit_mime: bool = False
    size: bool = False
    dsn: bool = False
    """Whether delivery status notifications can be asked for (RFC 3461)."""

    @classmethod
    def from_ehlo(cls, lines: Iterable[str], *, tls_version: str = "") -> Capabilities:
        """Read the lines of an EHLO reply without their codes, the greeting line left out."""
        parameters: dict[str, str] = {}
        mechanisms: dict[str, None] = {}
        for line in lines:
            # "AUTH=LOGIN" is how old servers, and some new ones for old clients, write "AUTH LOGIN".
            text = re.sub(r"(?i)^AUTH=", "AUTH ", _UNPRINTABLE.sub("?", line).strip())
            keyword, _, parameter = text.partition(" ")
            if keyword.upper() == "AUTH":
                mechanisms |= dict.fromkeys(name for name in parameter.upper().split() if _MECHANISM.fullmatch(name))
                parameter = " ".join(mechanisms)
            if keyword:
                parameters[keyword.upper()] = parameter.strip()
        size = parameters.get("SIZE", "")
        return cls(
            extensions=tuple(f"{keyword} {parameter}".rstrip() for keyword, parameter in parameters.items()),
            auth_mechanisms=tuple(mechanisms),
            max_message_size=int(size) if size.isdecimal() and len(size) <= _MAX_SIZE_DIGITS else 0,
            tls_version=tls_version,
            starttls="STARTTLS" in parameters,
            pipelining="PIPELINING" in parameters,
            chunking="CHUNKING" in parameters,
            smtputf8="SMTPUTF8" in parameters,
            eight_bit_mime="8BITMIME" in parameters,
            size="SIZE" in parameters,
            dsn="DSN" in parameters,
        )
