"""The envelope of a mail (RFC 5321, section 2.3.1): its sender and its one recipient.

An address that could end its command, or add a parameter to it, does not get into an envelope.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_MAX_PATH: Final = 400
"""Octets: more than the 256 of RFC 5321, section 4.5.3.1.3, and MAIL stays within its 512 octets."""
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\xa0<>\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who sends, and who receives.

    Raises:
        ValueError: An address holds a space, a control character or an angle bracket, or is far too long.
    """

    sender: str
    """The reverse path without brackets. Empty: the null sender."""
    recipient: str
    """The forward path without brackets."""
    smtputf8: bool = False
    """Whether the header holds UTF-8 (RFC 6531). Addresses that are not ASCII mean it anyway."""

    def __post_init__(self) -> None:
        paths = self.sender, self.recipient
        if not self.recipient or any(_UNSAFE.search(path) or len(path.encode()) > _MAX_PATH for path in paths):
            raise ValueError("an address of the envelope is not fit for an SMTP command")  # not the address: personal

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return self.smtputf8 or not (self.sender.isascii() and self.recipient.isascii())

    def mail_command(self, parameters: str) -> bytes:
        """Return the MAIL command; ``parameters`` are empty or begin with a space."""
        return f"MAIL FROM:<{self.sender}>{parameters}\r\n".encode()

    def rcpt_command(self) -> bytes:
        """Return the RCPT command."""
        return f"RCPT TO:<{self.recipient}>\r\n".encode()
