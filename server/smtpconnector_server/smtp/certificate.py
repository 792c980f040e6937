"""The certificates that a server shows: for which names, from whom, and until when.

They are foreign text, sanitised here, and say nothing of trust: OpenSSL has judged that, or was told not to.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import ssl

    from cryptography.x509 import Certificate, Name

_MAX_NAMES: Final = 5
_MAX_NAME: Final = 64
_MAX_CHAIN: Final = 5
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_ENCODING_DER: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCertificate:
    """A server's certificate and the chain that it sent with it."""

    names: tuple[str, ...]
    """Host names and IP addresses that it is for, the first ones; such as ``*.example.com`` too."""
    issuers: tuple[str, ...]
    """Who issued it, who issued the next one of the chain, and so on."""
    begins_at: datetime
    """Before it the certificate is not valid."""
    expires_at: datetime

    @classmethod
    def of(cls, ssl_object: ssl.SSLObject) -> ShownCertificate | None:
        """Return what a server has shown in a handshake. None: nothing that can be read."""
        from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 - 20 ms that sending need not pay

        try:
            chain = [load_der_x509_certificate(octets) for octets in _chain(ssl_object)[:_MAX_CHAIN]]
            return cls(
                names=_names(chain[0]),
                issuers=tuple(_common_name(certificate.issuer) for certificate in chain),
                begins_at=chain[0].not_valid_before_utc,
                expires_at=chain[0].not_valid_after_utc,
            )
        except (ValueError, IndexError):
            return None

    def days_left(self) -> int:
        """Return for how many days it is still valid; negative when it no longer is."""
        return (self.expires_at - datetime.now(UTC)).days

    @property
    def is_for_later(self) -> bool:
        """Whether it is not valid yet."""
        return self.begins_at > datetime.now(UTC)

    def is_for(self, name: str) -> bool:
        """Tell whether it is for a name; a wildcard stands for one label (RFC 9525, section 6.3)."""
        _, _, domain = name.partition(".")
        return name in self.names or f"*.{domain}" in self.names

    def describe(self) -> str:
        """Say all of it in a line."""
        days = self.days_left()
        until = f"until {self.expires_at:%Y-%m-%d}"
        lasts = f"valid {until}, {days} days left" if days >= 0 else f"was valid {until} only"
        if self.is_for_later:
            lasts = f"valid from {self.begins_at:%Y-%m-%d} only"
        sent = "1 certificate" if len(self.issuers) == 1 else f"{len(self.issuers)} certificates"
        return (
            f"certificate for {', '.join(self.names) or 'no name'}, {lasts}, issued by {' < '.join(self.issuers)}"
            f" ({sent} sent)"
        )


def _chain(ssl_object: ssl.SSLObject) -> list[bytes]:
    """Return the certificates as they were sent, in DER."""
    if sys.version_info >= (3, 13):
        return list(ssl_object.get_unverified_chain())
    # Older versions have the same without a public name, and change no more.
    sent = cast("Any", ssl_object)._sslobj.get_unverified_chain() or ()  # noqa: SLF001
    return [certificate.public_bytes(_ENCODING_DER) for certificate in sent]


def _names(certificate: Certificate) -> tuple[str, ...]:
    from cryptography.x509 import DNSName, ExtensionNotFound, IPAddress, SubjectAlternativeName  # noqa: PLC0415

    try:
        alternatives = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return ()  # RFC 9525, section 2: the common name is no name of a server
    names = [*alternatives.get_values_for_type(DNSName), *map(str, alternatives.get_values_for_type(IPAddress))]
    return tuple(_clean(name.lower()) for name in names[:_MAX_NAMES])


def _common_name(name: Name) -> str:
    from cryptography.x509 import NameOID  # noqa: PLC0415

    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return _clean(str(attribute.value))
    return "a nameless authority"


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)[:_MAX_NAME]
