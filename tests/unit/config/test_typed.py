"""The second door: the same rules and the same configuration, other paths."""

from __future__ import annotations

from typing import Any

import pytest

from harness.certificates import ca_pem
from harness.configuration import document, errors, said
from harness.private_keys import client_certificate, encrypted, rsa_pem
from smtpconnector.v1 import config_pb2
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.model import (
    AccessToken,
    ClientCredentialsGrant,
    RefreshTokenGrant,
    ServiceAccountGrant,
    TlsMode,
    TlsVersion,
)
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.shape import TypedShape
from smtpconnector_server.config.typed import read_typed

APPLICATION = {
    "user": "u",
    "client_id": "c",
    "client_secret": "s",
    "token_url": "https://login.microsoftonline.com/tenant/oauth2/v2.0/token",
}
CERT, KEY = client_certificate()
ENCRYPTED_KEY = encrypted(KEY, "pass")


def typed(**changes: Any) -> dict[str, Any]:
    whole = {
        "host": "smtp.example.com",
        "port": 587,
        "login": {"user": "ada@example.com", "password": "hunter-two"},
        "from_email": "Ada <ada@example.com>",
        "templates": [
            {
                "usage_type": template["usageType"],
                "content_type": "text_plain",
                "subject": template["subject"],
                "content": template["content"],
            }
            for template in document()["templates"]
        ],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def server(**changes: Any) -> Any:
    checked = read_typed(typed(**changes))
    assert checked.connector is not None, checked.findings
    return checked.connector.server


@pytest.mark.parametrize(
    ("in_document", "in_message"),
    [
        ({}, {}),
        ({"port": 465}, {"port": 465}),
        ({"port": ..., "secure": True}, {"port": ..., "tls_mode": "implicit"}),
        ({"port": ..., "secure": False}, {"port": ...}),
        ({"requireTLS": True}, {"tls_mode": "starttls_required"}),
        ({"ignoreTLS": True}, {"tls_mode": "disabled"}),
        ({"auth": {}}, {"login": ...}),
        (
            {"auth": {"user": "u", "accessToken": "t"}},
            {"login": ..., "oauth2_token": {"user": "u", "access_token": "t"}},
        ),
        (
            {"replyTo": "b@example.com", "name": "c.example"},
            {"reply_to": "b@example.com", "client_hostname": "c.example"},
        ),
        ({"localAddress": "127.0.0.1"}, {"local_address": "127.0.0.1"}),
        ({"dnsTimeout": 1500, "socketTimeout": 2000}, {"dns_timeout": 1.5, "socket_timeout": 2.0}),
        ({"customHeaders": {"X-A": ["1", "2"]}}, {"custom_headers": [{"name": "X-A", "value": v} for v in "12"]}),
        ({"servername": "x.example"}, {"tls": {"server_name": "x.example"}}),
        (
            {"tls": {"ca": ca_pem(), "rejectUnauthorized": False, "minVersion": "TLSv1.3"}},
            {"tls": {"ca_pem": ca_pem(), "insecure_skip_verify": True, "min_version": "1_3"}},
        ),
    ],
)
def test_both_doors_lead_to_the_same_configuration(in_document: dict[str, Any], in_message: dict[str, Any]) -> None:
    by_document = read_document(document(**in_document), origin=Origin.CALLER)
    by_message = read_typed(typed(**in_message))
    assert by_document.connector is not None
    assert by_message.connector == by_document.connector
    assert [finding.reason for finding in by_message.findings] == [finding.reason for finding in by_document.findings]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"host": ...}, ("host", "MISSING_FIELD")),
        ({"host": "a b"}, ("host", "INVALID_HOST")),
        ({"port": 70000}, ("port", "OUT_OF_RANGE")),
        ({"tls_mode": 9}, ("tls_mode", "INVALID_VALUE")),
        ({"login": {}}, ("login.user", "MISSING_FIELD")),
        ({"login": {"user": "u"}}, ("login.password", "HALF_CREDENTIALS")),
        ({"login": ..., "oauth2_token": {"user": "u"}}, ("oauth2_token.access_token", "MISSING_FIELD")),
        (
            {"login": ..., "oauth2_refresh_token": {"user": "u", "client_id": "c"}},
            ("oauth2_refresh_token.refresh_token", "MISSING_FIELD"),
        ),
        (
            {"login": ..., "oauth2_service_account": {"user": "u", "service_client": "s"}},
            ("oauth2_service_account.private_key_pem", "MISSING_FIELD"),
        ),
        *(
            (
                {"login": ..., "oauth2_client_credentials": {"user": "u"}},
                (f"oauth2_client_credentials.{field}", "MISSING_FIELD"),
            )
            for field in ("client_id", "client_secret", "token_url")
        ),
        (
            {
                "login": ...,
                "oauth2_client_credentials": {**APPLICATION, "token_url": "https://login.example.com", "scope": ""},
            },
            ("oauth2_client_credentials.scope", "MISSING_FIELD"),
        ),
        ({"from_email": ...}, ("from_email", "MISSING_FIELD")),
        ({"from_email": "<your-address>"}, ("from_email", "PLACEHOLDER_TEXT")),
        ({"reply_to": "x"}, ("reply_to", "INVALID_ADDRESS")),
        ({"templates": ...}, ("templates", "MISSING_TEMPLATE")),
        ({"templates": [{"usage_type": "Register", "subject": "s"}]}, ("templates[0].content", "MISSING_FIELD")),
        ({"custom_headers": [{"name": "To", "value": "x"}]}, ("custom_headers[0].name", "INVALID_HEADER")),
        ({"custom_headers": [{"name": "X-A", "value": "a\nb"}]}, ("custom_headers[0].value", "INVALID_HEADER")),
        ({"client_hostname": "münchen"}, ("client_hostname", "INVALID_HOST")),
        ({"local_address": "x"}, ("local_address", "INVALID_VALUE")),
        ({"socket_timeout": 3601.0}, ("socket_timeout", "OUT_OF_RANGE")),
        ({"tls": {"ca_pem": "/etc/ca.pem"}}, ("tls.ca_pem", "PATH_NOT_ALLOWED")),
        ({"tls": {"client_cert_pem": ca_pem()}}, ("tls.client_key_pem", "MISSING_FIELD")),
        ({"tls": {"client_key_pem": ENCRYPTED_KEY}}, ("tls.client_key_passphrase", "MISSING_FIELD")),
        ({"tls": {"server_name": "a:1"}}, ("tls.server_name", "INVALID_HOST")),
    ],
)
def test_findings_have_the_contracts_paths(changes: dict[str, Any], found: tuple[str, str]) -> None:
    assert found in errors(read_typed(typed(**changes)))


def test_a_mode_against_the_port_is_said_of_the_mode() -> None:
    assert said(read_typed(typed(tls_mode="starttls_required", port=465))) == [
        ("WARNING", "tls_mode", "TLS_PORT_MISMATCH")
    ]
    assert server(tls_mode="starttls_required", port=465).tls_mode is TlsMode.STARTTLS_REQUIRED


def test_the_order_of_headers_is_kept() -> None:
    headers = [{"name": "X-A", "value": "1"}, {"name": "X-B", "value": "2"}, {"name": "X-A", "value": "3"}]
    checked = read_typed(typed(custom_headers=headers))
    assert checked.connector is not None
    assert checked.connector.custom_headers == (("X-A", "1"), ("X-B", "2"), ("X-A", "3"))


def test_every_grant_is_known() -> None:
    token = server(login=..., oauth2_token={"user": "u", "access_token": "t"}).auth.source
    assert isinstance(token, AccessToken)
    refresh = {"user": "u", "client_id": "c", "refresh_token": "r", "token_url": "https://login.example.com/token"}
    grant = server(login=..., oauth2_refresh_token={**refresh, "scope": "mail offline"}).auth.source
    assert isinstance(grant, RefreshTokenGrant)
    assert grant.scope == "mail offline"
    account = {"user": "u", "service_client": "s", "private_key_pem": rsa_pem(), "scope": "mail"}
    assertion = server(login=..., oauth2_service_account=account).auth.source
    assert isinstance(assertion, ServiceAccountGrant)
    assert assertion.scope == "mail"
    application = server(login=..., oauth2_client_credentials=APPLICATION).auth.source
    assert isinstance(application, ClientCredentialsGrant)
    assert (application.client_id, application.client_secret.reveal()) == ("c", "s")
    assert application.scope == "https://outlook.office365.com/.default"


def test_an_encrypted_client_key_is_opened_by_its_passphrase() -> None:
    tls = server(tls={"client_cert_pem": CERT, "client_key_pem": ENCRYPTED_KEY, "client_key_passphrase": "pass"}).tls
    assert tls.client_key_passphrase.reveal() == "pass"


def test_a_minimum_version_has_its_name() -> None:
    assert server(tls={"min_version": "1_2"}).tls.min_version is TlsVersion.TLS_1_2


def test_every_field_of_the_contract_is_read() -> None:
    def fields_of(message: Any, shape: Any) -> None:
        names = {field.name for field in message.DESCRIPTOR.fields}
        assert set(shape.model_fields) == names, message.DESCRIPTOR.name

    fields_of(config_pb2.SmtpConfig, TypedShape)
    nested = {
        "tls": config_pb2.TlsOptions,
        "login": config_pb2.LoginAuth,
        "oauth2_token": config_pb2.OAuth2Token,
        "oauth2_refresh_token": config_pb2.OAuth2RefreshToken,
        "oauth2_service_account": config_pb2.OAuth2ServiceAccount,
        "oauth2_client_credentials": config_pb2.OAuth2ClientCredentials,
    }
    for name, message in nested.items():
        (shape, _) = TypedShape.model_fields[name].annotation.__args__  # type: ignore[union-attr]
        fields_of(message, shape)
