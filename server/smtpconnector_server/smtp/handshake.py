"""What a failed TLS handshake means, in words that name the fault and the fix."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Server

TLS_RECORDS: Final = frozenset({0x15, 0x16})
"""First octet of a TLS alert and of a handshake record (RFC 8446, section 5.1)."""

_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_NOTHING_IN_COMMON: Final = re.compile(
    r"UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|NO_PROTOCOLS|NO_SHARED|HANDSHAKE_FAILURE"
)
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def handshake_failure(error: Exception, server: Server, stage: Stage) -> Failure:
    """Return the failure that an exception of a handshake means.

    Args:
        error: What was raised.
        server: The server.
        stage: TLS from the first octet, or STARTTLS.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _UNPRINTABLE.sub("?", error.verify_message).rstrip(".")
        return Failure(
            Reason.SMTP_TLS_CERTIFICATE_INVALID,
            f"The certificate of {server.host} is not valid: {words}. Connect by the name that it is for, trust its"
            " issuer (tls.ca), or have it renewed.",
            stage=Stage.TLS,
            host=server.host,
        )
    openssl = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if openssl in _NOT_TLS:
        if stage is Stage.STARTTLS:
            message = f"{server.host} went on in plain text after it had agreed to STARTTLS."
        else:
            message = (
                f"{server.host} speaks plain text on port {server.port}, and TLS was expected from the first octet. Use"
                " STARTTLS (secure: false), or the port for implicit TLS, mostly 465."
            )
        return Failure(Reason.SMTP_TLS_PROTOCOL_MISMATCH, message, stage=Stage.TLS, host=server.host)
    if _NOTHING_IN_COMMON.search(openssl):
        return Failure(
            Reason.SMTP_TLS_PROTOCOL_MISMATCH,
            f"{server.host} has no version of TLS, or no cipher, in common with this configuration. Check"
            " tls.minVersion, tls.maxVersion and tls.ciphers.",
            stage=Stage.TLS,
            host=server.host,
        )
    return Failure(
        Reason.SMTP_TLS_TEMPORARY,
        f"The TLS handshake with {server.host} {_how_it_ended(error)}. Try again later.",
        stage=Stage.TLS,
        host=server.host,
    )


def speaks_tls(server: Server) -> Failure:
    """Return the failure of a server that begins with TLS where plain text was expected."""
    return Failure(
        Reason.SMTP_TLS_PROTOCOL_MISMATCH,
        f"{server.host} speaks TLS from the first octet on port {server.port}, and plain text was expected. Use"
        " implicit TLS (secure: true).",
        stage=Stage.GREETING,
        host=server.host,
    )


def _how_it_ended(error: Exception) -> str:
    # asyncio reports a handshake that takes too long as ConnectionAbortedError.
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return "took too long"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return f"failed ({(error.reason or 'no reason given').lower().replace('_', ' ')})"
    return "broke: the server closed the connection"
