"""What a look at a live server means for the configuration: findings that name the field, the fault and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.finding import Finding, Findings
from smtpconnector_server.config.model import (
    AccessToken,
    ClientCredentialsGrant,
    LoginAuth,
    RefreshTokenGrant,
    ServiceAccountGrant,
    TlsMode,
)
from smtpconnector_server.config.presets import hint_for
from smtpconnector_server.failure import Reason
from smtpconnector_server.smtp.transaction import Level

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Auth, Server
    from smtpconnector_server.failure import Failure
    from smtpconnector_server.smtp.capabilities import Capabilities
    from smtpconnector_server.smtp.certificate import ShownCertificate
    from smtpconnector_server.smtp.probe import Report

SOON_DAYS: Final = 14
"""Before its end a certificate should have been renewed: automatic renewal comes 30 days before."""
_OLD_VERSIONS: Final = frozenset({"SSLv3", "TLSv1", "TLSv1.1"})

_FIELDS: Final = {
    Reason.SMTP_CONNECT_FAILED: "port",
    Reason.SMTP_CONNECT_TIMEOUT: "port",
    Reason.SMTP_GREETING_TIMEOUT: "port",
    Reason.SMTP_TLS_PROTOCOL_MISMATCH: "secure",
    Reason.SMTP_TLS_REQUIRED: "port",
    Reason.SMTP_TLS_REQUIRED_FOR_AUTH: "port",
    Reason.SMTP_SENDER_REJECTED: "fromEmail",
    Reason.SMTP_SENDER_DEFERRED: "fromEmail",
    Reason.SMTP_SMTPUTF8_UNSUPPORTED: "fromEmail",
    Reason.SMTP_RECIPIENT_REJECTED: "to",
    Reason.SMTP_RECIPIENT_DEFERRED: "to",
    Reason.SMTP_MAILBOX_UNAVAILABLE: "to",
    Reason.SMTP_POLICY_REJECTED: "to",
    Reason.DEADLINE_EXCEEDED: "",
    Reason.INVALID_CONFIG: "",
}
"""By reason, the field of a document that is most likely wrong; the host where nothing is said."""
_CREDENTIALS: Final = frozenset(
    {
        Reason.SMTP_AUTH_FAILED,
        Reason.SMTP_AUTH_REQUIRED,
        Reason.SMTP_AUTH_TEMPORARY,
        Reason.SMTP_AUTH_UNSUPPORTED,
        Reason.OAUTH2_TOKEN_REJECTED,
        Reason.OAUTH2_ENDPOINT_UNAVAILABLE,
        Reason.NOT_IMPLEMENTED,
    }
)
_TYPED: Final = {
    "secure": "tls_mode",
    "ignoreTLS": "tls_mode",
    "fromEmail": "from_email",
    "tls.minVersion": "tls.min_version",
    "tls.servername": "tls.server_name",
    "tls.ca": "tls.ca_pem",
}
"""The fields of an ``SmtpConfig`` that have other names."""


def diagnose(report: Report, server: Server, *, is_typed: bool = False, wants_dsn: bool = False) -> tuple[Finding, ...]:
    """Return what a look at a server means, errors first.

    Args:
        report: The look.
        server: The server.
        is_typed: Whether the configuration is an ``SmtpConfig`` and not a document, which has other names of fields.
        wants_dsn: Whether the configuration asks for delivery status notifications.
    """
    findings = Findings()
    if report.failure is not None:
        failure = report.failure
        field = _field(failure, server.auth, is_typed=is_typed)
        message, hint = failure.message, hint_for(server.host, failure.reason)
        if failure.reason is Reason.SMTP_TLS_CERTIFICATE_INVALID and report.certificate is not None:
            message += f" It shows a {report.certificate.describe()}."
            hint = _certificate_hint(report.certificate, server, is_typed=is_typed)
        findings.error(field, failure.reason, message, hint)

    def path(field: str) -> str:
        return _TYPED.get(field, field) if is_typed else field

    certificate = report.certificate
    is_refused = report.failure is not None and report.failure.reason is Reason.SMTP_TLS_CERTIFICATE_INVALID
    if certificate is not None and not is_refused and certificate.days_left() < SOON_DAYS:
        findings.warning(
            path("host"),
            "CERTIFICATE_EXPIRES_SOON",
            f"The certificate of {server.host} is valid until {certificate.expires_at:%Y-%m-%d} only.",
            "Have it renewed, or ask the server's operator to: mails fail from then on.",
        )
    offered = report.capabilities
    if offered is None:
        return findings.report()
    if offered.tls_version in _OLD_VERSIONS:
        findings.warning(
            path("tls.minVersion"),
            "OLD_TLS_VERSION",
            f"{server.host} negotiated {offered.tls_version}, which is broken and forbidden by RFC 8996.",
            "Ask its operator for TLS 1.2 or newer.",
        )
    if not offered.tls_version:
        _look_at_clear_text(offered, server, path("ignoreTLS"), findings)
    if offered.tls_version or not offered.starttls or server.tls_mode is TlsMode.DISABLED:
        _look_at_extensions(offered, report.level, server, findings)
        if wants_dsn and not offered.dsn:
            findings.info("dsn", "NO_DSN", f"{server.host} does not offer DSN: no notifications are asked for.")
    return findings.report()


def _certificate_hint(certificate: ShownCertificate, server: Server, *, is_typed: bool) -> str:
    if certificate.days_left() < 0:
        return "Have it renewed, or ask the server's operator to."
    if certificate.is_for_later:
        return "See that the clock of this machine is right; if it is, the server's operator has to show an older one."
    if certificate.names and not certificate.is_for(server.tls.server_name or server.host):
        names, field = ", ".join(certificate.names), _TYPED["tls.servername"] if is_typed else "tls.servername"
        return f"Connect by a name that it is for ({names}), or set {field} to that name."
    return (
        "Trust the certificate of its authority by giving it as PEM text in"
        f" {_TYPED['tls.ca'] if is_typed else 'tls.ca'}; of a public authority, the server has to send the intermediate"
        " certificates too."
    )


def _look_at_clear_text(offered: Capabilities, server: Server, switch: str, findings: Findings) -> None:
    if server.tls_mode is TlsMode.DISABLED and offered.starttls:
        findings.warning(
            switch,
            "STARTTLS_NOT_USED",
            f"{server.host} offers STARTTLS, and TLS is switched off: mails"
            f"{' and credentials' if server.auth is not None else ''} go over the network in the clear.",
            f"Leave {switch} out.",
        )
    elif server.tls_mode is TlsMode.STARTTLS_OFFERED and server.auth is None and not offered.starttls:
        findings.warning(
            "port",
            "NO_TLS",
            f"{server.host} offers no TLS on port {server.port}: mails go over the network in the clear.",
            "Use a port with TLS, mostly 587 or 465, unless the server is on this machine.",
        )


def _look_at_extensions(offered: Capabilities, level: Level | None, server: Server, findings: Findings) -> None:
    if not offered.pipelining:
        findings.info(
            "host", "NO_PIPELINING", f"{server.host} does not offer PIPELINING: a mail takes four round trips."
        )
    elif level is Level.SERIAL:
        findings.info(
            "host",
            "STEPPED_DOWN",
            f"{server.host} offers PIPELINING and has shown that it does not cope with it: for a day, commands go out"
            " one at a time.",
        )
    if not offered.smtputf8:
        findings.info(
            "host", "NO_SMTPUTF8", f"{server.host} does not offer SMTPUTF8: only ASCII addresses can be written to."
        )


def _field(failure: Failure, auth: Auth | None, *, is_typed: bool) -> str:
    if failure.reason in _CREDENTIALS:
        return _typed_credentials(auth) if is_typed else ("auth.pass" if _is_password_wrong(failure, auth) else "auth")
    field = _FIELDS.get(failure.reason, "host")
    return _TYPED.get(field, field) if is_typed else field


def _is_password_wrong(failure: Failure, auth: Auth | None) -> bool:
    return failure.reason is Reason.SMTP_AUTH_FAILED and isinstance(auth, LoginAuth)


def _typed_credentials(auth: Auth | None) -> str:
    if auth is None or isinstance(auth, LoginAuth):
        return "login"
    match auth.source:
        case AccessToken():
            return "oauth2_token"
        case RefreshTokenGrant():
            return "oauth2_refresh_token"
        case ServiceAccountGrant():
            return "oauth2_service_account"
        case ClientCredentialsGrant():
            return "oauth2_client_credentials"
