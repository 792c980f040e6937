"""TLS contexts: how a server's certificate is checked, built once per configuration.

Certificates and keys come as PEM text and nothing here opens a path of a configuration. What cannot be used is a
ValueError that names the option and never shows its value.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.model import TlsOptions, TlsVersion

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CONTEXTS: Final = 256
_VERSIONS: Final = {
    TlsVersion.TLS_1_0: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS_1_1: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3,
}


class TlsContexts:
    """Contexts by their options: building one costs 25 ms."""

    def __init__(self) -> None:
        self._contexts: OrderedDict[TlsOptions, ssl.SSLContext] = OrderedDict()

    async def get(self, options: TlsOptions) -> ssl.SSLContext:
        """Return the context for some options.

        Raises:
            ValueError: They cannot be used.
        """
        context = self._contexts.get(options)
        if context is None:
            context = await asyncio.to_thread(build_context, options)  # it reads the system's roots
            self._contexts[options] = context
            if len(self._contexts) > _MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(options)
        return context


def build_context(options: TlsOptions) -> ssl.SSLContext:
    """Build a context.

    Raises:
        ValueError: An option cannot be used.
    """
    # Not create_default_context(): what it demands of certificates differs between versions of Python.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    _set_versions(context, options)
    if options.ciphers is not None:
        try:
            context.set_ciphers(options.ciphers)
        except ssl.SSLError as error:
            raise ValueError("ciphers: OpenSSL knows no cipher of this list") from error
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca_pem is None:
        context.load_default_certs()
    else:
        _trust(context, options.ca_pem)
    if options.client_cert_pem is not None:
        _show(context, options.client_cert_pem, options)
    elif options.client_key_pem is not None:
        raise ValueError("client_key_pem: there is no client certificate that it belongs to")
    return context


def _set_versions(context: ssl.SSLContext, options: TlsOptions) -> None:
    order = list(TlsVersion)
    if options.max_version is not None and order.index(options.max_version) < order.index(options.min_version):
        raise ValueError("max_version: older than min_version")
    is_old = order.index(options.min_version) < order.index(TlsVersion.TLS_1_2)
    if is_old and options.ciphers is None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # OpenSSL 3 allows TLS 1.0 and 1.1 at no higher level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of old versions: the operator asked for them
        context.minimum_version = _VERSIONS[options.min_version]
        if options.max_version is not None:
            context.maximum_version = _VERSIONS[options.max_version]


def _trust(context: ssl.SSLContext, ca_pem: str) -> None:
    try:
        context.load_verify_locations(cadata=_pem("ca_pem", ca_pem, "CERTIFICATE"))
    except ssl.SSLError as error:
        raise ValueError("ca_pem: OpenSSL cannot read it as certificates in PEM form") from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever names an intermediate certificate trusts it


def _show(context: ssl.SSLContext, cert_pem: str, options: TlsOptions) -> None:
    key = options.client_key_pem
    pem = _pem("client_cert_pem", cert_pem, "CERTIFICATE")
    if key is not None:
        pem += "\n" + _pem("client_key_pem", key.reveal(), "PRIVATE KEY")
    passphrase = options.client_key_passphrase.reveal() if options.client_key_passphrase else ""
    with _private_file(pem) as path:
        try:
            # Always with a passphrase: without one OpenSSL would ask at the terminal.
            context.load_cert_chain(path, password=passphrase)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ValueError(
                "client_cert_pem, client_key_pem: OpenSSL cannot use them. They must be PEM, the key must belong to the"
                " certificate, and an encrypted key needs its passphrase"
            ) from error


def _pem(option: str, text: str, label: str) -> str:
    if not text.isascii() or "-----BEGIN " not in text or f"{label}-----" not in text:
        raise ValueError(f"{option}: not PEM text (it holds no -----BEGIN … {label}-----)")
    return text


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """Lend a file, because ssl reads keys from files only. In memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor is no path
            file.write(text)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:  # mode 0600
            file.write(text)
            file.flush()
            yield file.name
