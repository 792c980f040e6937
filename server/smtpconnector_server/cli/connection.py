"""How a command reaches a running server: address, TLS and token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from smtpconnector_server.cli.terminal import CommandFailed

if TYPE_CHECKING:
    import argparse

    from smtpconnector import Tls

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
_USAGE_ERROR: Final = 2


def add_connection(parser: argparse.ArgumentParser, *, asks_who_calls: bool = True) -> None:
    """Add the options that say which server to call, and how."""
    group = parser.add_argument_group("the running server")
    group.add_argument("--address", default=DEFAULT_ADDRESS, metavar="HOST:PORT", help="(default: %(default)s)")
    group.add_argument("--tls", action="store_true", help="speak TLS")
    group.add_argument("--tls-ca", type=Path, metavar="FILE", help="trust this CA (PEM); implies --tls")
    group.add_argument("--tls-name", metavar="NAME", help="the name in the server's certificate, if not the host")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="show this certificate (PEM)")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    if asks_who_calls:
        group.add_argument("--token-file", type=Path, metavar="FILE", help="a file that holds the caller's token")


def tls_of(arguments: argparse.Namespace) -> Tls | None:
    """Return the TLS that the options ask for.

    Raises:
        CommandFailed: A file cannot be read, or half of a pair is missing.
    """
    from smtpconnector import Tls  # noqa: PLC0415 - imports gRPC, which --help need not wait for

    if not (arguments.tls or arguments.tls_ca or arguments.tls_cert or arguments.tls_key or arguments.tls_name):
        return None
    try:
        return Tls(
            root_certificates=_read(arguments.tls_ca),
            certificate_chain=_read(arguments.tls_cert),
            private_key=_read(arguments.tls_key),
            server_name=arguments.tls_name or "",
        )
    except ValueError as error:
        raise CommandFailed(f"--tls-cert and --tls-key: {error}", _USAGE_ERROR) from None


def token_of(arguments: argparse.Namespace) -> str | None:
    """Return the token that the options name.

    Raises:
        CommandFailed: The file cannot be read.
    """
    token = _read(arguments.token_file)
    return None if token is None else token.decode("ascii", errors="replace").strip()


def _read(file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}", _USAGE_ERROR) from None
