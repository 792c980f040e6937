"""The server's own certificate, reloaded when its files change.

A new certificate counts from the next handshake on; connections that stand go on. A pair that cannot be used is
reported and the old one serves on.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc
import structlog

from smtpconnector_server.file_stamp import file_stamp

if TYPE_CHECKING:
    from pathlib import Path

    from smtpconnector_server.file_stamp import FileStamp

_log = structlog.get_logger()


class CertificateError(ValueError):
    """A certificate, key or CA file cannot be used; the text says which and why."""


class ServerCertificate:
    """The files of a certificate, its key and, for mutual TLS, the CA of client certificates.

    Args:
        certificate: PEM, the chain included.
        key: PEM, unencrypted.
        client_ca: PEM. None: clients are not asked for a certificate.

    Raises:
        CertificateError: They cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._files = (certificate, key) if client_ca is None else (certificate, key, client_ca)
        self._asks_clients = client_ca is not None
        self._seen = self._stamps()
        self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that always use the newest files."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._newest,  # type: ignore[arg-type]  # None means no change; the stub does not know
            require_client_authentication=self._asks_clients,
        )

    def _newest(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a new configuration if the files changed. gRPC asks before every handshake, on a thread of its own."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return None
            self._seen = stamps
            self._configuration = self._read()
        except CertificateError as error:
            _log.error("certificate_refused", error=str(error))
            return None
        _log.info("certificate_reloaded")
        return self._configuration

    def _stamps(self) -> tuple[FileStamp | None, ...]:
        return tuple(map(file_stamp, self._files))

    def _read(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, *client_ca = self._files
        try:
            chain, secret, *roots = (file.read_bytes() for file in self._files)  # first: it names the file that fails
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key, password=_refuse_to_ask)
            for file in client_ca:
                context.load_verify_locations(file)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise CertificateError(
                f"{certificate}, {key} or the client CA cannot be used: {getattr(error, 'reason', None) or error}"
            ) from None
        return grpc.ssl_server_certificate_configuration([(secret, chain)], roots[0] if roots else None)


def _refuse_to_ask() -> str:
    raise ValueError("the key is encrypted; give one that is not")
