"""TLS of a configuration: the switches become one mode, the refinements are checked to the last octet."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.host import HostError, parse_host
from smtpconnector_server.config.model import TlsMode, TlsOptions, TlsVersion
from smtpconnector_server.config.pem import CertificateChain, PemError, matches, parse_certificates, parse_private_key
from smtpconnector_server.config.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from smtpconnector_server.config.draft import Draft, Said, TlsDraft
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.presets import Preset

IMPLICIT_PORT: Final = 465  # RFC 8314, section 7.3
SUBMISSION_PORT: Final = 587  # RFC 6409
RELAY_PORT: Final = 25
_VERSIONS: Final = tuple(TlsVersion)


def resolve_mode(draft: Draft, port: int | None, findings: Findings) -> TlsMode:
    """Return the mode that the switches ask for, as nodemailer reads them.

    Args:
        draft: What was said.
        port: The port as it was said; None when the default will be taken.
        findings: Where contradictions go.
    """
    secure, require, ignore = draft.secure, draft.require_tls, draft.ignore_tls
    is_implicit = port == IMPLICIT_PORT if secure.value is None else secure.value
    if require.value and ignore.value:
        findings.error(
            ignore.path,
            "CONTRADICTION",
            f"{ignore.path} and {require.path} exclude each other.",
            f"Leave {ignore.path} out to have TLS.",
        )
    elif is_implicit and ignore.value:
        by = f"{secure.path} is true" if secure.value else f"port {IMPLICIT_PORT} means TLS from the first octet"
        findings.error(
            ignore.path, "CONTRADICTION", f"{ignore.path} asks for no TLS, but {by}.", f"Leave {ignore.path} out."
        )
    if is_implicit:
        return TlsMode.IMPLICIT
    if require.value:
        return TlsMode.STARTTLS_REQUIRED
    return TlsMode.DISABLED if ignore.value else TlsMode.STARTTLS_OFFERED


def check_port(draft: Draft, port: int, mode: TlsMode, preset: Preset | None, findings: Findings) -> None:
    """Say when a port and a TLS mode do not go together.

    At a known provider that is an error. Elsewhere an operator may have made it otherwise than everybody.
    """
    implicit_ports = preset.implicit_ports if preset else (IMPLICIT_PORT,)
    usual_ports = {SUBMISSION_PORT, RELAY_PORT, *((preset.port, *preset.other_ports) if preset else ())}
    say = findings.error if preset else findings.warning
    path = draft.secure.path
    if mode is TlsMode.IMPLICIT and port in usual_ports and port not in implicit_ports:
        say(
            path,
            "TLS_PORT_MISMATCH",
            f"Port {port} begins without TLS and turns to it by STARTTLS; TLS from the first octet fails there "
            '("wrong version number").',
            f"Leave {path} out, or use port {implicit_ports[0]}.",
        )
    elif mode is not TlsMode.IMPLICIT and port in implicit_ports:
        say(
            path,
            "TLS_PORT_MISMATCH",
            f"Port {port} speaks TLS from the first octet; a connection without it waits in vain for the server's "
            "greeting.",
            f"Leave {path} out." if port == IMPLICIT_PORT else f"Ask for TLS from the first octet by {path}.",
        )


def read_options(draft: TlsDraft, findings: Findings) -> TlsOptions:
    """Return the refinements, as far as they can be used."""
    if draft.verify.value is False:
        findings.warning(
            draft.verify.path,
            "CERTIFICATE_NOT_CHECKED",
            "The server's certificate is not checked: anyone on the way can read the mails and the password.",
            "Leave it out; a private authority's certificate can be trusted by giving it as "
            f"{draft.ca_pem.path} instead.",
        )
    min_version, max_version = _versions(draft, findings)
    cert_pem, key_pem, passphrase = _client_certificate(draft, findings)
    ca_pem = draft.ca_pem.value
    if ca_pem is not None:
        _certificates(draft.ca_pem, findings)
    return TlsOptions(
        server_name=_server_name(draft.server_name, findings),
        ca_pem=ca_pem,
        client_cert_pem=cert_pem,
        client_key_pem=key_pem,
        client_key_passphrase=passphrase,
        min_version=min_version,
        max_version=max_version,
        ciphers=_ciphers(draft.ciphers, findings),
        verify=draft.verify.value is not False,
    )


def _server_name(said: Said[str], findings: Findings) -> str | None:
    if said.value is None:
        return None
    try:
        return parse_host(said.value)
    except HostError as error:
        findings.error(said.path, "INVALID_HOST", f"{said.path} {error.message}.", error.hint)
        return None


def _versions(draft: TlsDraft, findings: Findings) -> tuple[TlsVersion, TlsVersion | None]:
    lowest = TlsVersion(draft.min_version.value) if draft.min_version.value else TlsVersion.TLS_1_2
    highest = TlsVersion(draft.max_version.value) if draft.max_version.value else None
    if highest is not None and _VERSIONS.index(lowest) > _VERSIONS.index(highest):
        findings.error(
            draft.max_version.path,
            "CONTRADICTION",
            f"{draft.max_version.path} is older than {draft.min_version.path} ({lowest.value}).",
            f"Leave {draft.max_version.path} out.",
        )
    elif lowest in (TlsVersion.TLS_1_0, TlsVersion.TLS_1_1):
        findings.warning(
            draft.min_version.path,
            "OLD_TLS_VERSION",
            f"{lowest.value} is broken and forbidden by RFC 8996.",
            f"Leave {draft.min_version.path} out unless the server has nothing better.",
        )
    return lowest, highest


def _client_certificate(draft: TlsDraft, findings: Findings) -> tuple[str | None, Secret | None, Secret | None]:
    cert, key, passphrase = draft.cert_pem, draft.key_pem, draft.key_passphrase
    for there, absent in ((cert, key), (key, cert)):
        if there.value is not None and not absent.is_given:
            findings.error(
                absent.path,
                "MISSING_FIELD",
                f"{there.path} is of no use without {absent.path}.",
                "Give both, or neither.",
            )
    chain = _certificates(cert, findings) if cert.value is not None else None
    private_key = _private_key(key, passphrase, findings) if key.value is not None else None
    if chain is not None and private_key is not None and not matches(chain, private_key):
        findings.error(
            key.path,
            "KEY_MISMATCH",
            f"{key.path} does not belong to the first certificate of {cert.path}.",
            "The certificate of the key comes first in the chain, then those of its authorities.",
        )
    if cert.value is None or key.value is None:
        return None, None, None
    return cert.value, Secret(key.value), Secret(passphrase.value) if passphrase.value else None


def _certificates(said: Said[str], findings: Findings) -> CertificateChain | None:
    try:
        chain = parse_certificates(said.value or "")
    except PemError as error:
        findings.error(said.path, error.reason, f"{said.path} {error.message}.", error.hint)
        return None
    if chain.expired():
        message = f"A certificate in {said.path} has expired."
        findings.warning(said.path, "CERTIFICATE_EXPIRED", message, "Replace it by its successor.")
    return chain


def _private_key(said: Said[str], passphrase: Said[str], findings: Findings) -> PrivateKeyTypes | None:
    try:
        return parse_private_key(said.value or "", passphrase.value)
    except PemError as error:
        path = passphrase.path if error.reason == "MISSING_FIELD" else said.path
        findings.error(path, error.reason, f"{said.path} {error.message}.", error.hint)
        return None


def _ciphers(said: Said[str], findings: Findings) -> str | None:
    if said.value is None:
        return None
    names = [name for name in said.value.replace(",", ":").split(":") if name]
    # Node.js takes the suites of TLS 1.3 in the same list; Python's ssl cannot choose among them.
    older = [name for name in names if not name.startswith("TLS_")]
    if len(older) < len(names):
        findings.warning(
            said.path,
            "NO_EFFECT",
            "The cipher suites of TLS 1.3 cannot be chosen here; the names that begin with TLS_ have no effect.",
            "Leave them out; all suites of TLS 1.3 are strong.",
        )
    if not older:
        return None
    ciphers = ":".join(older)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
    except (ssl.SSLError, ValueError, UnicodeError):
        findings.error(
            said.path, "INVALID_VALUE", f"OpenSSL knows no cipher of {said.path}.", "Give an OpenSSL cipher list."
        )
        return None
    return ciphers
