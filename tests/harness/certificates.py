"""Server certificates, good and bad, made when first asked for."""

from __future__ import annotations

import datetime as dt
import functools
import ssl
from enum import Enum, auto

import trustme

NAMES = ("localhost", "127.0.0.1", "mail.example.com")
"""What a certificate stands for, unless its name is what is wrong with it."""


class Certificate(Enum):
    """A server's certificate, by what is wrong with it."""

    GOOD = auto()
    WRONG_NAME = auto()
    EXPIRED = auto()
    NOT_YET_VALID = auto()
    SELF_SIGNED = auto()
    UNKNOWN_CA = auto()


@functools.cache
def authority() -> trustme.CA:
    """The one authority that a test's client trusts."""
    return trustme.CA()


def ca_pem() -> str:
    """Its certificate, as a configuration names it."""
    return authority().cert_pem.bytes().decode()


@functools.cache
def server_context(certificate: Certificate = Certificate.GOOD) -> ssl.SSLContext:
    """A server's context that shows ``certificate``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is Certificate.SELF_SIGNED:
        _load_self_signed(context)
    else:
        _issue(certificate).configure_cert(context)
    return context


@functools.cache
def client_context() -> ssl.SSLContext:
    """A client's context that trusts the authority and checks the name."""
    return ssl.create_default_context(cadata=ca_pem())


def _issue(certificate: Certificate) -> trustme.LeafCert:
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    match certificate:
        case Certificate.WRONG_NAME:
            return authority().issue_cert("elsewhere.example.com")
        case Certificate.EXPIRED:
            return authority().issue_cert(*NAMES, not_before=now - 2 * day, not_after=now - day)
        case Certificate.NOT_YET_VALID:
            return authority().issue_cert(*NAMES, not_before=now + day, not_after=now + 2 * day)
        case Certificate.UNKNOWN_CA:
            return trustme.CA().issue_cert(*NAMES)
        case _:
            return authority().issue_cert(*NAMES)


def _load_self_signed(context: ssl.SSLContext) -> None:
    signer = trustme.CA()  # a root that serves its own certificate
    with signer.private_key_pem.tempfile() as key, signer.cert_pem.tempfile() as chain:
        context.load_cert_chain(chain, key)
