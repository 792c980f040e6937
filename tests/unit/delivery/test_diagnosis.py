from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from smtpconnector_server.config.finding import Finding, Severity
from smtpconnector_server.config.model import AccessToken, LoginAuth, OAuth2Auth, Server, TlsMode
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.delivery.diagnosis import diagnose
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.certificate import ShownCertificate
from smtpconnector_server.smtp.probe import Report
from smtpconnector_server.smtp.transaction import Level

LOGIN = LoginAuth(user="ada@example.com", password=Secret("hunter-two"))
OAUTH2 = OAuth2Auth(user="ada@example.com", source=AccessToken(token=Secret("token")))
SERVER = Server(host="smtp.example.com", port=587, tls_mode=TlsMode.STARTTLS_OFFERED, auth=LOGIN)
GOOD = Capabilities.from_ehlo(["PIPELINING", "SMTPUTF8"], tls_version="TLSv1.3")


def report(reason: Reason, **seen: object) -> Report:
    failure = Failure(reason, "It does not work.", stage=Stage.AUTH, host=SERVER.host)
    return Report(steps=(), failure=failure, **seen)  # type: ignore[arg-type]


def seen(offered: Capabilities = GOOD, level: Level = Level.PIPELINING, **more: object) -> Report:
    return Report(steps=(), capabilities=offered, level=level, **more)  # type: ignore[arg-type]


def certificate(days: float, *names: str, begins_in: float = -365) -> ShownCertificate:
    now = datetime.now(UTC)
    return ShownCertificate(
        names=names,
        issuers=("An Authority",),
        begins_at=now + timedelta(days=begins_in),
        expires_at=now + timedelta(days=days, hours=1),
    )


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize(
    ("reason", "field", "typed_field"),
    [
        (Reason.SMTP_DNS_NOT_FOUND, "host", "host"),
        (Reason.SMTP_CONNECT_FAILED, "port", "port"),
        (Reason.SMTP_TLS_PROTOCOL_MISMATCH, "secure", "tls_mode"),
        (Reason.SMTP_TLS_CERTIFICATE_INVALID, "host", "host"),
        (Reason.SMTP_AUTH_FAILED, "auth.pass", "login"),
        (Reason.SMTP_AUTH_UNSUPPORTED, "auth", "login"),
        (Reason.SMTP_SENDER_REJECTED, "fromEmail", "from_email"),
        (Reason.SMTP_RECIPIENT_REJECTED, "to", "to"),
    ],
)
def test_a_failure_names_its_field_in_the_callers_own_form(reason: Reason, field: str, typed_field: str) -> None:
    assert only(diagnose(report(reason), SERVER)).field == field
    assert only(diagnose(report(reason), SERVER, is_typed=True)).field == typed_field


def test_a_refused_token_is_no_wrong_password() -> None:
    server = replace(SERVER, auth=OAUTH2)
    assert only(diagnose(report(Reason.SMTP_AUTH_FAILED), server)).field == "auth"
    assert only(diagnose(report(Reason.SMTP_AUTH_FAILED), server, is_typed=True)).field == "oauth2_token"


def test_the_fix_is_the_providers() -> None:
    finding = only(diagnose(report(Reason.SMTP_AUTH_FAILED), replace(SERVER, host="smtp.gmail.com")))
    assert (finding.severity, finding.reason) == (Severity.ERROR, "SMTP_AUTH_FAILED")
    assert "app password" in finding.hint
    assert "Gmail" in finding.hint


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.startswith(("SMTP_TLS", "SMTP_AUTH_FAILED"))])
def test_a_server_that_nobody_knows_gets_the_general_hint(reason: Reason) -> None:
    if reason is not Reason.SMTP_TLS_TEMPORARY:
        assert only(diagnose(report(reason), SERVER)).hint


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (certificate(-3, "smtp.example.com"), "renewed"),
        (certificate(90, "smtp.example.com", begins_in=2), "clock"),
        (certificate(90, "mail.example.com"), "mail.example.com"),
        (certificate(90, "smtp.example.com"), "tls.ca"),
        (certificate(90, "*.example.com"), "tls.ca"),
    ],
)
def test_a_refused_certificate_gets_the_fix_of_its_own_fault(shown: ShownCertificate, words: str) -> None:
    finding = only(diagnose(report(Reason.SMTP_TLS_CERTIFICATE_INVALID, certificate=shown), SERVER))
    assert words in finding.hint
    assert "An Authority" in finding.message


@pytest.mark.parametrize(
    ("shown", "field"),
    [(certificate(90, "mail.example.com"), "tls.server_name"), (certificate(90, "smtp.example.com"), "tls.ca_pem")],
)
def test_the_fix_names_the_field_in_the_callers_own_form(shown: ShownCertificate, field: str) -> None:
    refused = report(Reason.SMTP_TLS_CERTIFICATE_INVALID, certificate=shown)
    assert field in only(diagnose(refused, SERVER, is_typed=True)).hint
    assert field not in only(diagnose(refused, SERVER)).hint


def test_a_good_server_gets_no_finding() -> None:
    good = seen(certificate=certificate(60, "smtp.example.com"))
    assert diagnose(good, SERVER) == ()


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    finding = only(diagnose(seen(certificate=certificate(13)), SERVER))
    assert (finding.severity, finding.reason) == (Severity.WARNING, "CERTIFICATE_EXPIRES_SOON")
    assert diagnose(seen(certificate=certificate(14)), SERVER) == ()


@pytest.mark.parametrize(
    ("server", "seen", "reason", "field"),
    [
        (SERVER, seen(replace(GOOD, tls_version="TLSv1.1")), "OLD_TLS_VERSION", "tls.minVersion"),
        (
            replace(SERVER, tls_mode=TlsMode.DISABLED),
            seen(replace(GOOD, tls_version="", starttls=True)),
            "STARTTLS_NOT_USED",
            "ignoreTLS",
        ),
        (replace(SERVER, auth=None), seen(replace(GOOD, tls_version="")), "NO_TLS", "port"),
    ],
)
def test_what_is_not_safe_is_a_warning(server: Server, seen: Report, reason: str, field: str) -> None:
    finding = only(diagnose(seen, server))
    assert (finding.severity, finding.reason, finding.field) == (Severity.WARNING, reason, field)


@pytest.mark.parametrize(
    ("offered", "level", "reason"),
    [
        (replace(GOOD, pipelining=False), Level.SERIAL, "NO_PIPELINING"),
        (GOOD, Level.SERIAL, "STEPPED_DOWN"),
        (replace(GOOD, smtputf8=False), Level.PIPELINING, "NO_SMTPUTF8"),
    ],
)
def test_what_only_costs_something_is_an_information(offered: Capabilities, level: Level, reason: str) -> None:
    finding = only(diagnose(seen(offered, level), SERVER))
    assert (finding.severity, finding.reason) == (Severity.INFO, reason)


def test_what_a_server_keeps_for_after_tls_is_not_missed_before_it() -> None:
    broken = report(Reason.SMTP_TLS_TEMPORARY, capabilities=Capabilities(starttls=True))
    assert only(diagnose(broken, SERVER)).reason == "SMTP_TLS_TEMPORARY"
