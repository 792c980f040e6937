"""A receiver that checks DKIM signatures, with public keys that it is told and not a look into DNS."""

from __future__ import annotations

import base64

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


def record(private_key_pem: str) -> bytes:
    """The TXT record that publishes the public half of a key."""
    key = serialization.load_pem_private_key(private_key_pem.encode(), None).public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(key.public_bytes_raw())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def valid_signatures(octets: bytes, records: dict[str, bytes]) -> list[bool]:
    """Whether each signature of a mail is good, the topmost first.

    Args:
        octets: The mail.
        records: TXT records by name, such as ``mail._domainkey.example.com``.
    """
    reader = dkim.DKIM(octets)
    count = sum(name.lower() == b"dkim-signature" for name, _ in reader.headers)

    def look_up(name: bytes, timeout: float = 5) -> bytes | None:
        return records.get(name.decode().removesuffix("."))

    def is_valid(index: int) -> bool:
        try:
            return bool(reader.verify(index, dnsfunc=look_up))
        except dkim.ValidationError:  # the body is another one
            return False

    return [is_valid(index) for index in range(count)]
