"""DKIM signatures (RFC 6376, Ed25519 by RFC 8463) by the library dkimpy, an extra of this distribution.

A signed mail is the mail with signatures in front: no octet of it changes, and the rules of the composed mail hold for
the whole. Nothing here runs unless a configuration has a key.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from smtpconnector_server.message.header import header_line
from smtpconnector_server.message.mail import check_wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpconnector_server.message.mail import Mail

SIGNED: Final = frozenset(
    {
        *("from", "sender", "reply-to", "subject", "date", "message-id", "to", "cc", "in-reply-to", "references"),
        *("mime-version", "content-type", "content-transfer-encoding", "content-id", "content-description"),
        *("list-id", "list-help", "list-unsubscribe", "list-subscribe", "list-post", "list-owner", "list-archive"),
        "list-unsubscribe-post",  # RFC 8058, section 4
        "otp-token",  # a mail client trusts it only with a signature of the site's domain
    }
)
"""The headers that are signed where they occur, in lower case (RFC 6376, section 5.4.1)."""
NEVER_SIGNED: Final = frozenset(
    {"return-path", "received", "comments", "keywords", "bcc", "resent-bcc", "dkim-signature"}
)
"""Headers that servers on the way write or change (RFC 6376, section 5.4.1)."""


class SignatureAlgorithm(Enum):
    """How a signature is made."""

    RSA = b"rsa-sha256"
    ED25519 = b"ed25519-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """What a domain signs with."""

    domain: str
    """In A-labels."""
    selector: str
    """Under which the domain publishes the public key."""
    algorithm: SignatureAlgorithm
    private_key: str = field(repr=False)
    """RSA: PEM text (PKCS #1). Ed25519: its 32 octets in base64."""


class Signer:
    """Signs mails.

    Args:
        keys: Each makes one signature.
        header_names: Which headers to sign where they occur, in lower case; From is among them.
    """

    def __init__(self, keys: Iterable[SigningKey], header_names: Iterable[str] = SIGNED) -> None:
        self._keys = tuple(keys)
        self._header_names = {name.encode() for name in header_names}

    def sign(self, mail: Mail) -> Mail:
        """Return the mail with its signatures.

        Takes 6 ms of CPU for an RSA key of 2048 bits, 40 ms for one of 4096 and 0.2 ms for an Ed25519 key.
        """
        signatures = b"".join(self._signature(mail, key) for key in self._keys)
        octets = signatures + mail.octets
        check_wire(octets)
        return replace(mail, octets=octets)

    def _signature(self, mail: Mail, key: SigningKey) -> bytes:
        import dkim  # noqa: PLC0415 - 0.1 s, and not installed where nobody signs

        signer = dkim.DKIM(mail.octets, signature_algorithm=key.algorithm.value)
        signer.should_sign = self._header_names  # and From once more, so that nobody can add a second one
        line: bytes = signer.sign(
            key.selector.encode(), key.domain.encode(), key.private_key.encode(), canonicalize=(b"relaxed", b"relaxed")
        )
        return _without_command_lines(line) if mail.opaque else line


def _without_command_lines(line: bytes) -> bytes:
    """Fold a signature so that no line of it can be read as an SMTP command; see :meth:`.mail.Composer.compose`.

    Relaxed canonicalisation takes a fold for the blank that it stands at, and leaves out the value of ``b=``.
    """
    tags, _, value = line.decode("ascii").replace("\r\n ", " ").rpartition("; b=")
    name, _, tags = tags.partition(": ")
    folded = "\r\n ".join(value.split())
    return (header_line(name, f"{tags};", opaque=True) + f" b={folded}\r\n").encode()
