"""The private key of a service account: PEM text in, an RSA key or the reason why not out.

No octet of the key or of its passphrase is ever part of an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.pem import refuse_slow_encryption

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from smtpconnector_server.config.secret import Secret

_MIN_BITS: Final = 2048  # RFC 7518, section 3.3
_MAX_BITS: Final = 4096  # opening one takes 0.2 s, one of twice the length 3 s


def load_private_key(pem: Secret, passphrase: Secret | None = None) -> RSAPrivateKey:
    r"""Return the key that signs a service account's assertions.

    Takes 30 ms of CPU for 2048 bits and 0.2 s for 4096: all its numbers are checked, because the library may misbehave
    with a key that a stranger made up.

    A literal ``\n`` counts as a line's end: it is what remains of one when the key is copied out of a JSON file.

    Args:
        pem: PEM text, PKCS #8 or PKCS #1.
        passphrase: What opens an encrypted key.

    Raises:
        ValueError: It is not a usable key; the text says why and what to do.
    """
    # Loaded here: 20 ms that a service without OAuth 2.0 need not pay when it starts.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    text = pem.reveal().replace("\\n", "\n").strip()
    if "PRIVATE KEY-----" not in text:
        raise ValueError("is not a private key in PEM form: it begins with -----BEGIN PRIVATE KEY-----")
    # Without a passphrase nothing may be passed on: for a key that is not encrypted the library takes it for a mistake.
    is_encrypted = "ENCRYPTED" in text
    if is_encrypted and not passphrase:
        raise ValueError("is encrypted: give its passphrase")
    refuse_slow_encryption(text)
    damaged = "cannot be opened: the passphrase is wrong, or the text is" if is_encrypted else "is"
    damaged += " damaged: copy the key anew, with all its lines"
    try:
        password = passphrase.reveal().encode() if is_encrypted and passphrase else None
        # The check comes below: it takes minutes for numbers that are long enough.
        key = load_pem_private_key(text.encode(), password, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(damaged) from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is not an RSA key, which RS256 needs")  # noqa: TRY004 - a wrong value, not a wrong type
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise ValueError(f"has {key.key_size} bits: it must have {_MIN_BITS} to {_MAX_BITS}")
    numbers = key.private_numbers()
    if max(numbers.p.bit_length(), numbers.q.bit_length(), numbers.d.bit_length()) > key.key_size:
        raise ValueError(damaged)
    try:
        return numbers.private_key()
    except ValueError:
        raise ValueError(damaged) from None
