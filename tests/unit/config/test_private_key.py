"""The private key of a service account."""

from __future__ import annotations

from base64 import b64encode, encodebytes
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from smtpconnector_server.config.private_key import load_private_key
from smtpconnector_server.config.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def _pem(
    key: RSAPrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_opens_a_key_in_either_form_with_and_without_a_passphrase(
    key: RSAPrivateKey, form: PrivateFormat, passphrase: str | None
) -> None:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else None
    loaded = load_private_key(Secret(_pem(key, form, encryption)), Secret(passphrase) if passphrase else None)
    assert loaded.private_numbers() == key.private_numbers()


def test_opens_a_key_whose_line_ends_are_still_escaped_as_in_json(key: RSAPrivateKey) -> None:
    assert load_private_key(Secret(_pem(key).replace("\n", "\\n"))).private_numbers() == key.private_numbers()


def test_a_passphrase_for_a_key_that_needs_none_does_no_harm(key: RSAPrivateKey) -> None:
    assert load_private_key(Secret(_pem(key)), Secret("needless")).private_numbers() == key.private_numbers()


def _damaged(pem: str) -> str:
    lines = pem.splitlines()
    return "\n".join([*lines[:5], *lines[8:]])


def _with_another_prime(key: RSAPrivateKey) -> str:
    return _der_pem(key, p=key.private_numbers().p + 2)


def _with_a_huge_prime(key: RSAPrivateKey) -> str:
    """Checking that this is no prime would take minutes."""
    return _der_pem(key, p=(1 << 30_000) + 1)


def _der_pem(key: RSAPrivateKey, p: int) -> str:
    """Write PKCS #1 by hand (RFC 8017, appendix A.1.2): the library refuses to make such keys."""
    secret, public = key.private_numbers(), key.private_numbers().public_numbers
    numbers = (0, public.n, public.e, secret.d, p, secret.q, secret.dmp1, secret.dmq1, secret.iqmp)
    der = _tlv(0x30, b"".join(_tlv(0x02, n.to_bytes(n.bit_length() // 8 + 1)) for n in numbers))
    return f"-----BEGIN RSA PRIVATE KEY-----\n{encodebytes(der).decode()}-----END RSA PRIVATE KEY-----\n"


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


@pytest.mark.parametrize(
    ("make", "passphrase", "fault"),
    [
        (lambda _: "canary", None, "is not a private key in PEM form"),
        (lambda _: "", None, "is not a private key in PEM form"),
        (lambda key: _damaged(_pem(key)), None, "is damaged"),
        (_with_another_prime, None, "is damaged"),
        (_with_a_huge_prime, None, "is damaged"),
        (lambda key: _pem(key).replace("M", "\ud800", 1), None, "is damaged"),
        (
            lambda key: _pem(key, encryption=BestAvailableEncryption(b"right")),
            None,
            "is encrypted: give its passphrase",
        ),
        (lambda key: _pem(key, encryption=BestAvailableEncryption(b"right")), "canary", "the passphrase is wrong"),
        (lambda key: _pem(key, encryption=BestAvailableEncryption(b"right")), "\ud800", "the passphrase is wrong"),
        (lambda _: _pem(generate_private_key(65537, 1024)), None, "has 1024 bits: it must have 2048"),  # noqa: S505 - that is the point
        (lambda _: _pem(generate_ec_key(SECP256R1())), None, "is not an RSA key"),
    ],
)
def test_says_what_is_wrong_with_a_key_and_nothing_of_the_key(
    make: Callable[[RSAPrivateKey], str], passphrase: str | None, fault: str, key: RSAPrivateKey
) -> None:
    pem = make(key)
    with pytest.raises(ValueError, match=fault) as caught:
        load_private_key(Secret(pem), Secret(passphrase) if passphrase else None)
    assert "canary" not in str(caught.value)
    assert not any(line in str(caught.value) for line in pem.splitlines()[1:])


# PBKDF2 with a salt of one octet and a million iterations (RFC 8018, appendix A.2): seconds of CPU.
_SLOW = bytes.fromhex("06092a864886f70d01050c" + "301b" + "040141" + "02030f4240")


@pytest.mark.parametrize("line_end", ["\n", "\\n"])
def test_a_key_that_is_slow_to_open_is_not_opened(line_end: str) -> None:
    label = "ENCRYPTED PRIVATE KEY"
    pem = f"-----BEGIN {label}-----{line_end}{b64encode(_SLOW).decode()}{line_end}-----END {label}-----{line_end}"
    with pytest.raises(ValueError, match="iterations"):
        load_private_key(Secret(pem), Secret("open sesame"))


def test_header_lines_do_not_hide_how_slow_an_encrypted_key_is_to_open(key: RSAPrivateKey) -> None:
    pem = _pem(key, encryption=BestAvailableEncryption(b"open sesame"))
    with pytest.raises(ValueError, match="damaged"):
        load_private_key(Secret(pem.replace("KEY-----\n", "KEY-----\nX: y\n\n", 1)), Secret("open sesame"))
