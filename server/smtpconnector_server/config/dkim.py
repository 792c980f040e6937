"""DKIM (RFC 6376): keys that can sign, and headers that may be signed; or a finding says why not.

A key is opened once, here: the model holds it as the signing library takes it. No octet of one is part of a finding.
"""

from __future__ import annotations

import base64
import importlib.util
import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config import limits
from smtpconnector_server.config.model import Dkim, DkimKey
from smtpconnector_server.config.pem import PemError, parse_private_key
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.message.domain import DomainError, to_ascii
from smtpconnector_server.message.signature import NEVER_SIGNED, SignatureAlgorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from smtpconnector_server.config.draft import DkimDraft, DkimKeyDraft, Said
    from smtpconnector_server.config.finding import Findings

_LIBRARIES: Final = ("dkim", "nacl")
_HASH: Final = "sha256"
_SENDER: Final = "from"
_SELECTOR: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)
_HEADER_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_MIN_BITS: Final = 1024
_GOOD_BITS: Final = 2048  # RFC 8301, section 3.2
_MAX_BITS: Final = 4096  # what every receiver checks; signing with one takes 40 ms


def read_dkim(draft: DkimDraft, findings: Findings) -> Dkim | None:
    """Return what to sign with; None for unsigned mails."""
    if draft.hash_algorithm.value is not None and draft.hash_algorithm.value.lower() != _HASH:
        findings.error(
            draft.hash_algorithm.path,
            "INVALID_VALUE",
            f"{draft.hash_algorithm.path} must be {_HASH}; signatures by others count for nothing (RFC 8301).",
            "Leave it out.",
        )
    header_names = _header_names(draft.header_names, findings)
    skipped_names = _header_names(draft.skipped_names, findings)
    for said, is_wrong in (
        (draft.header_names, header_names and _SENDER not in header_names),
        (draft.skipped_names, _SENDER in skipped_names),
    ):
        if is_wrong:
            findings.error(said.path, "INVALID_VALUE", f"{said.path} leaves From out, which must be signed (RFC 6376).")
    if not draft.keys:
        return None
    if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
        findings.error(
            draft.path,
            "NOT_INSTALLED",
            f"{draft.path} needs the extra dkim, which this server lacks.",
            "Install smtpconnector-server[dkim], or let the provider sign, as most do.",
        )
        return None
    keys = [_key(key, findings) for key in draft.keys]
    return Dkim(
        keys=tuple(key for key in keys if key is not None), header_names=header_names, skipped_names=skipped_names
    )


def _key(draft: DkimKeyDraft, findings: Findings) -> DkimKey | None:
    for said in (draft.domain, draft.selector, draft.private_key):
        findings.require(said)
    domain = _domain(draft.domain, findings)
    selector = draft.selector.value
    if selector is not None and not _SELECTOR.fullmatch(selector):
        findings.error(
            draft.selector.path,
            "INVALID_VALUE",
            f"{draft.selector.path} is no selector, such as mail2026.",
            "The public key is the TXT record of SELECTOR._domainkey.DOMAIN.",
        )
    opened = _opened(draft.private_key, draft.private_key_passphrase, findings)
    if domain is None or selector is None or opened is None:
        return None
    algorithm, private_key = opened
    return DkimKey(domain=domain, selector=selector, algorithm=algorithm, private_key=private_key)


def _domain(said: Said[str], findings: Findings) -> str | None:
    if said.value is None:
        return None
    try:
        domain = to_ascii(said.value)
    except DomainError as error:
        findings.error(said.path, "INVALID_HOST", f"{said.path} {error}.", "Give the sender's domain.")
        return None
    if len(domain) > limits.DKIM_NAME:
        findings.error(said.path, "TOO_LARGE", f"{said.path} is longer than {limits.DKIM_NAME} characters in A-labels.")
    return domain


def _opened(key: Said[str], passphrase: Said[str], findings: Findings) -> tuple[SignatureAlgorithm, Secret] | None:
    if key.value is None:
        return None
    try:
        opened = parse_private_key(key.value, passphrase.value)
    except PemError as error:
        path = passphrase.path if error.reason == "MISSING_FIELD" else key.path
        findings.error(path, error.reason, f"{key.path} {error.message}.", error.hint)
        return None
    # Loaded here: 20 ms that a server without such keys need not pay when it starts.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

    if isinstance(opened, Ed25519PrivateKey):
        return SignatureAlgorithm.ED25519, Secret(base64.b64encode(opened.private_bytes_raw()).decode())
    if not isinstance(opened, RSAPrivateKey):
        findings.error(
            key.path, "INVALID_PRIVATE_KEY", f"{key.path} is neither an RSA nor an Ed25519 key, so DKIM cannot use it."
        )
        return None
    if not _is_fit(opened, key.path, findings):
        return None
    pem = opened.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return SignatureAlgorithm.RSA, Secret(pem.decode())


def _is_fit(key: RSAPrivateKey, path: str, findings: Findings) -> bool:
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        message = f"{path} has {key.key_size} bits: it must have {_MIN_BITS} to {_MAX_BITS}."
        findings.error(path, "INVALID_PRIVATE_KEY", message, f"Make one of {_GOOD_BITS}.")
        return False
    if not _is_consistent(key):
        message = f"{path} is a damaged private key."
        findings.error(path, "INVALID_PRIVATE_KEY", message, "Copy it anew, with all its lines.")
        return False
    if key.key_size < _GOOD_BITS:
        findings.warning(
            path, "WEAK_KEY", f"{path} has {key.key_size} bits, which can be broken.", f"Make one of {_GOOD_BITS}."
        )
    return True


def _is_consistent(key: RSAPrivateKey) -> bool:
    """Tell whether a key's numbers belong together, which bounds them all by the modulus.

    A key that somebody made up could otherwise take for ever to sign with. Whether its primes are primes is not asked:
    that takes 0.2 s, and only its owner's signatures depend on it.
    """
    numbers = key.private_numbers()
    p, q, e = numbers.p, numbers.q, numbers.public_numbers.e
    return (
        p > 1
        and q > 1
        and p * q == numbers.public_numbers.n
        and 0 < numbers.dmp1 < p
        and 0 < numbers.dmq1 < q
        and e * numbers.dmp1 % (p - 1) == 1
        and e * numbers.dmq1 % (q - 1) == 1
        and 0 < numbers.iqmp < p
        and numbers.iqmp * q % p == 1
    )


def _header_names(said: Said[str], findings: Findings) -> tuple[str, ...]:
    if said.value is None:
        return ()
    names = tuple(dict.fromkeys(name for part in said.value.split(":") if (name := part.strip().lower())))
    if not all(map(_HEADER_NAME.fullmatch, names)):
        findings.error(
            said.path, "INVALID_VALUE", f"{said.path} holds what is no header name.", "Separate names by colons."
        )
    never = sorted(NEVER_SIGNED.intersection(names))
    if never:
        findings.error(
            said.path,
            "INVALID_VALUE",
            f"{said.path} holds {', '.join(never)}: servers on the way change it, and the signature would break.",
        )
    return names
