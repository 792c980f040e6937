"""The envelope of a mail (RFC 5321, section 2.3.1): its sender and its one recipient.

An address that could end its command, or add a parameter to it, does not get into an envelope.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Dsn

_MAX_PATH: Final = 400
"""Octets: more than the 256 of RFC 5321, section 4.5.3.1.3, and MAIL stays within its 512 octets."""
_NOT_IN_XTEXT: Final = re.compile(r"[^!-~]|[+=]")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\xa0<>\u2028\u2029\ud800-\udfff]")


@value_object(kw_only=True)
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
    dsn: Dsn | None = None
    """What to ask of a server that offers delivery status notifications. None: nothing."""

    def __post_init__(self) -> None:
        if not (self.recipient and _is_fit(self.sender) and _is_fit(self.recipient)):
            raise ValueError("an address of the envelope is not fit for an SMTP command")  # not the address: personal

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it."""
        return self.smtputf8 or not (self.sender.isascii() and self.recipient.isascii())

    def mail_command(self, parameters: str) -> bytes:
        """Return the MAIL command; ``parameters`` are empty or begin with a space."""
        return f"MAIL FROM:<{self.sender}>{parameters}\r\n".encode()

    def rcpt_command(self, parameters: str = "") -> bytes:
        """Return the RCPT command; ``parameters`` are empty or begin with a space."""
        return f"RCPT TO:<{self.recipient}>{parameters}\r\n".encode()

    @property
    def dsn_of_mail(self) -> str:
        """The parameters of MAIL that say how to notify (RFC 3461, sections 4.3 and 4.4)."""
        if self.dsn is None:
            return ""
        ret = f" RET={self.dsn.returned.value.upper()}" if self.dsn.returned else ""
        return ret + (f" ENVID={_xtext(self.dsn.envelope_id)}" if self.dsn.envelope_id else "")

    @property
    def dsn_of_rcpt(self) -> str:
        """The parameters of RCPT that say when to notify, and of whom (RFC 3461, sections 4.1 and 4.2)."""
        if self.dsn is None:
            return ""
        notify = f" NOTIFY={','.join(event.value.upper() for event in self.dsn.notify)}" if self.dsn.notify else ""
        return notify + (f" ORCPT={_xtext(self.dsn.original_recipient)}" if self.dsn.original_recipient else "")


def _is_fit(path: str) -> bool:
    return _UNSAFE.search(path) is None and len(path.encode()) <= _MAX_PATH


def _xtext(text: str) -> str:
    """Encode a value (RFC 3461, section 4): no character of it can end the parameter or the command."""
    return _NOT_IN_XTEXT.sub(lambda match: "".join(f"+{octet:02X}" for octet in match[0].encode()), text)
