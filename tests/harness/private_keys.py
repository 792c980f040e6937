"""Private keys as PEM text, made when first asked for."""

from __future__ import annotations

import functools

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa


@functools.cache
def rsa_pem(bits: int = 2048) -> str:
    """An RSA key."""
    return _pem(rsa.generate_private_key(65537, bits))


@functools.cache
def ed25519_pem() -> str:
    """An Ed25519 key."""
    return _pem(ed25519.Ed25519PrivateKey.generate())


@functools.cache
def client_certificate() -> tuple[str, str]:
    """A certificate and its key, not encrypted."""
    certificate = trustme.CA().issue_cert("client.example.com")
    chain = "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems)
    return chain, certificate.private_key_pem.bytes().decode()


@functools.cache
def encrypted(pem: str, passphrase: str) -> str:
    """The same key, encrypted."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
