from __future__ import annotations

from typing import Any

import pytest

from harness.configuration import check, connector, errors, said, the_finding
from smtpconnector_server.config.host import parse_host
from smtpconnector_server.config.model import TlsMode
from smtpconnector_server.config.presets import AuthKind, find_service, hint_for, preset_at, presets, service_names
from smtpconnector_server.failure import Reason

IDS = [
    *("gmail", "google-workspace-relay", "microsoft-365", "outlook", "sendgrid", "mailgun", "mailgun-eu", "amazon-ses"),
    *("aliyun-directmail", "aliyun-directmail-international", "tencent-ses", "tencent-exmail", "postmark", "resend"),
    *("brevo", "mailjet", "zoho", "yandex", "icloud", "fastmail", "relay"),
]


def test_these_are_there() -> None:
    assert [preset.id for preset in presets()] == IDS


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.id)
class TestEveryPreset:
    def test_is_whole(self, preset: Any) -> None:
        assert preset.notes
        assert preset.hints
        assert preset.auth_kinds
        assert preset.source_url.startswith("https://")
        assert preset.port not in preset.other_ports
        assert (preset.tls_mode is TlsMode.IMPLICIT) == (preset.port in preset.implicit_ports)
        assert ("<region>" in preset.host) == bool(preset.regions)

    def test_makes_a_configuration_that_nothing_is_wrong_with(self, preset: Any) -> None:
        user = preset.user or "ada@example.com"
        auth: dict[str, Any] = {"user": user, "pass": "p"}
        if preset.auth_kinds[0] is AuthKind.NONE:
            auth = {}
        elif preset.auth_kinds[0] is AuthKind.OAUTH2:
            auth = {"type": "OAuth2", "user": user, "accessToken": "t"}
        host = ... if preset.host else "mail.example.com"
        for region in ("", *(f"-{region}" for region in preset.regions)):
            checked = check(service=preset.id + region, host=host, port=..., auth=auth)
            assert checked.findings == ()
            assert checked.connector is not None
            server = checked.connector.server
            assert (server.port, server.tls_mode) == (preset.port, preset.tls_mode)
            assert parse_host(server.host) == server.host
            if preset.host:
                assert preset_at(server.host) is preset


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("Gmail", "smtp.gmail.com", 465),
        ("Google Mail", "smtp.gmail.com", 465),
        ("googlemail.com", "smtp.gmail.com", 465),
        ("ada@googlemail.com", "smtp.gmail.com", 465),
        ("SES", "email-smtp.us-east-1.amazonaws.com", 465),
        ("SES-EU-WEST-1", "email-smtp.eu-west-1.amazonaws.com", 465),
        ("Outlook365", "smtp.office365.com", 587),
        ("Hotmail", "smtp-mail.outlook.com", 587),
        ("QQex", "smtp.exmail.qq.com", 465),
        ("QQ", "smtp.qq.com", 465),
        ("SendinBlue", "smtp-relay.brevo.com", 587),
        ("Feishu Mail", "smtp.feishu.cn", 465),
        ("hot.ee", "mail.hot.ee", 587),
        ("1und1", "smtp.1und1.de", 465),
    ],
)
def test_nodemailers_names_find_their_server(name: str, host: str, port: int) -> None:
    service = find_service(name)
    assert service is not None
    assert (service.host, service.port) == (host, port)


def test_every_service_has_a_host_that_is_one() -> None:
    for name in service_names():
        service = find_service(name)
        assert service is not None
        assert service.host == "" or parse_host(service.host) == service.host


class TestService:
    def test_wins_over_host_and_port(self) -> None:
        checked = check(service="gmail", host="mail.example.com", port=25)
        assert said(checked) == [("WARNING", "host", "NO_EFFECT"), ("WARNING", "port", "NO_EFFECT")]
        assert checked.connector is not None
        assert (checked.connector.server.host, checked.connector.server.port) == ("smtp.gmail.com", 465)

    def test_that_nobody_knows_is_told_with_the_nearest(self) -> None:
        checked = check(service="gmial", host=..., port=...)
        assert errors(checked) == [("service", "UNKNOWN_SERVICE")]
        assert "gmail" in the_finding(checked, "service").hint

    def test_that_nobody_knows_is_no_fault_beside_a_host(self) -> None:
        assert said(check(service="ours")) == [("WARNING", "service", "UNKNOWN_SERVICE")]

    def test_that_never_has_tls_goes_without(self) -> None:
        assert connector(service="Maildev", host=..., port=..., auth={}).server.tls_mode is TlsMode.DISABLED


class TestKnownHost:
    def test_has_the_providers_limits(self) -> None:
        pool = connector(host="smtp.office365.com", fromEmail="ada@example.com").server.pool
        assert pool.max_connections == 3
        assert connector(host="email-smtp.eu-west-1.amazonaws.com", port=465).server.pool.idle_seconds == 8.0
        assert connector(host="smtp.sendgrid.net", auth={"user": "apikey", "pass": "p"}).server.pool.max_messages == 90

    def test_is_trusted_with_a_single_flight_only_where_it_is_known_to_work(self) -> None:
        assert connector(host="smtp.gmail.com").server.single_flight
        assert not connector(host="smtp.gmail.com", singleFlight=False).server.single_flight
        assert not connector(host="smtp.example.com").server.single_flight

    def test_that_refuses_other_senders_is_said(self) -> None:
        checked = check(host="smtpdm.aliyun.com", port=465, fromEmail="eve@example.com")
        assert said(checked) == [("WARNING", "fromEmail", "SENDER_MISMATCH")]
        assert check(host="smtpdm.aliyun.com", port=465, fromEmail="Ada <ADA@example.com>").findings == ()

    def test_with_one_user_name_for_all_is_said(self) -> None:
        assert said(check(host="smtp.sendgrid.net")) == [("WARNING", "auth.user", "UNUSUAL_USER")]
        assert check(host="smtp.sendgrid.net", auth={"user": "apiKey", "pass": "p"}).findings == ()

    def test_that_takes_other_credentials_is_said(self) -> None:
        assert said(check(host="smtp-mail.outlook.com", fromEmail="ada@example.com")) == [
            ("WARNING", "auth", "AUTH_KIND_REFUSED")
        ]
        assert said(check(host="smtp.sendgrid.net", auth={})) == [("WARNING", "auth", "AUTH_KIND_REFUSED")]
        assert check(host="smtp-relay.gmail.com", auth={}).findings == ()

    def test_whose_tokens_come_from_elsewhere_is_said(self) -> None:
        auth = {"user": "ada@example.com", "clientId": "c", "refreshToken": "r"}
        assert check(host="smtp.gmail.com", auth=auth).findings == ()
        assert said(check(host="smtp.office365.com", auth=auth)) == [
            ("WARNING", "auth.accessUrl", "TOKEN_URL_MISMATCH")
        ]
        right = {**auth, "accessUrl": "https://login.microsoftonline.com/common/oauth2/v2.0/token"}
        assert check(host="smtp.office365.com", auth=right).findings == ()

    def test_that_takes_fewer_connections_is_said(self) -> None:
        checked = check(host="smtp.office365.com", maxConnections=4)
        assert said(checked) == [("WARNING", "maxConnections", "TOO_LARGE")]

    @pytest.mark.parametrize("host", ["smtp.gmail.com.example.com", "xsmtp.gmail.com", "amazonaws.com"])
    def test_is_not_any_host_with_its_name_in_it(self, host: str) -> None:
        assert preset_at(host) is None


def test_hints_know_the_provider_and_fall_back_to_what_is_true_everywhere() -> None:
    assert "app password" in hint_for("smtp.gmail.com", Reason.SMTP_AUTH_FAILED)
    assert "apikey" in hint_for("smtp.sendgrid.net", Reason.SMTP_AUTH_FAILED)
    assert hint_for("smtp.example.com", Reason.SMTP_AUTH_FAILED)
    assert hint_for("smtp.gmail.com", Reason.SMTP_CONNECT_TIMEOUT)
    assert hint_for("smtp.example.com", Reason.INTERNAL) == ""
