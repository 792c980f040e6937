"""Certificates and keys as PEM text: whether they can be used, without a file being opened.

The text comes from callers. So nothing here follows a path, and a key whose encryption was made slow on purpose is
refused before it costs seconds of CPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

_BEGIN: Final = "-----BEGIN "
_PATH: Final = re.compile(
    r"(file:|~?/|\.{1,2}/|[A-Za-z]:[\\/]|\\\\).*|[^\n]*\.(pem|crt|cer|cert|key|der|p12|pfx|txt)", re.IGNORECASE
)
_ENCRYPTED_BEGIN: Final = "BEGIN ENCRYPTED PRIVATE KEY"
_ENCRYPTED_PKCS8: Final = re.compile(
    r"-----BEGIN ENCRYPTED PRIVATE KEY-----([A-Za-z0-9+/=\s]*)-----END ENCRYPTED PRIVATE KEY-----"
)
_LENGTH: Final = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
# EncryptedPrivateKeyInfo up to the salt, by id-PBES2 and id-PBKDF2 (RFC 8018, appendix A). From its first octet on, so
# that nothing can be found inside of something else.
_PBKDF2: Final = re.compile(
    rb"\x30%b\x30%b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"
    rb"\x30%b\x30%b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c"
    rb"\x30%b\x04(?P<salt>[\x00-\x7f])(?P<rest>.*)" % ((_LENGTH,) * 5),
    re.DOTALL,
)
_MOST_ITERATIONS: Final = 100_000  # about 30 ms; OpenSSL writes 2048


class PemError(ValueError):
    """PEM text that cannot be used.

    Args:
        reason: A stable name of the fault, as in a finding.
        message: What is wrong; never the text itself.
        hint: What to do.
    """

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CertificateChain:
    """Certificates, the first of which is the one that counts."""

    certificates: tuple[Certificate, ...]

    def expired(self, now: datetime | None = None) -> bool:
        """Whether one of them has run out."""
        now = now or datetime.now(UTC)
        return any(certificate.not_valid_after_utc < now for certificate in self.certificates)


def parse_certificates(text: str) -> CertificateChain:
    """Return the certificates of a PEM text.

    Raises:
        PemError: There is none, or one is damaged.
    """
    # Loaded when first needed: it costs 20 ms that a configuration without certificates need not pay.
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    _refuse_path(text)
    try:
        return CertificateChain(tuple(load_pem_x509_certificates(text.encode())))
    except ValueError:
        raise PemError("INVALID_CERTIFICATE", "is a damaged certificate", "Copy it anew, with all its lines.") from None


def parse_private_key(text: str, passphrase: str | None) -> PrivateKeyTypes:
    """Return the private key of a PEM text.

    Raises:
        PemError: There is none, it is damaged, or the passphrase does not open it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    _refuse_path(text)
    if "PRIVATE KEY-----" not in text:
        raise PemError("INVALID_PRIVATE_KEY", "holds no private key", "It begins with -----BEGIN PRIVATE KEY-----.")
    is_encrypted = "ENCRYPTED" in text
    if is_encrypted and not passphrase:
        raise PemError("MISSING_FIELD", "is encrypted", "Give its passphrase, or a key that is not encrypted.")
    refuse_slow_encryption(text)
    try:
        return load_pem_private_key(
            text.encode(),
            passphrase.encode() if is_encrypted and passphrase else None,
            unsafe_skip_rsa_key_validation=True,  # primality tests of a huge key take seconds; TLS makes its own check
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "cannot be opened with this passphrase, or is damaged" if is_encrypted else "is a damaged private key"
        raise PemError("INVALID_PRIVATE_KEY", message, "Copy it anew, with all its lines.") from None


def matches(chain: CertificateChain, key: PrivateKeyTypes) -> bool:
    """Whether the key belongs to the first certificate."""
    return chain.certificates[0].public_key() == key.public_key()


def refuse_slow_encryption(text: str) -> None:
    """Refuse an encrypted key that takes long to open, whoever opens it.

    Raises:
        PemError: The key derivation is not PBKDF2, or has too many iterations.
    """
    import base64  # noqa: PLC0415
    import binascii  # noqa: PLC0415

    # Keys that are not encrypted, or by RFC 1423, whose derivation is fast, are none of these.
    blocks = _ENCRYPTED_PKCS8.findall(text)
    if len(blocks) != text.count(_ENCRYPTED_BEGIN):
        # Header lines, which the library would skip.
        raise PemError("INVALID_PRIVATE_KEY", "is a damaged private key", "Copy it anew, with all its lines.")
    for block in blocks:
        try:
            iterations = _pbkdf2_iterations(base64.b64decode("".join(block.split())))
        except binascii.Error:
            iterations = None
        if iterations is None or iterations > _MOST_ITERATIONS:
            raise PemError(
                "INVALID_PRIVATE_KEY",
                f"is encrypted otherwise than by PBKDF2 with at most {_MOST_ITERATIONS} iterations, or damaged",
                "Encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc.",
            )


def _pbkdf2_iterations(der: bytes) -> int | None:
    found = _PBKDF2.match(der)
    if found is None:
        return None
    after_salt = found["rest"][found["salt"][0] :]
    tag, length = after_salt[:2] if len(after_salt) > 1 else (0, 0)
    integer_tag = 2
    return int.from_bytes(after_salt[2 : 2 + length]) if tag == integer_tag else None


def _refuse_path(text: str) -> None:
    if _BEGIN in text:
        return
    if _PATH.fullmatch(text.strip()):
        raise PemError(
            "PATH_NOT_ALLOWED",
            "is the name of a file; files are never read for a configuration",
            "Give the PEM text itself, beginning with -----BEGIN.",
        )
    raise PemError("NOT_PEM", "is not PEM text", "Give the text that begins with -----BEGIN, with all its lines.")
