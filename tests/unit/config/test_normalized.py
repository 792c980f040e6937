from __future__ import annotations

import json
from typing import Any

import pytest

from harness.certificates import ca_pem
from harness.configuration import check_profile, connector, errors
from harness.documents import plain_templates
from harness.private_keys import ed25519_pem
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.model import Connector, LoginAuth
from smtpconnector_server.config.normalized import MASK, normalized
from smtpconnector_server.config.origin import Origin

HTML = {
    "usageType": "MfaVerification",
    "contentType": "text/html",
    "subject": "s",
    "content": "<p>{{code}}</p>",
    "textContent": "{{code}}",
    "replyTo": "{{user.primaryEmail}}",
    "sendFrom": "{{application.name}} <notice@example.com>",
    "languageTag": "de",
}


def again(configuration: Connector) -> Connector:
    checked = read_document(normalized(configuration), origin=Origin.PROFILE)
    assert errors(checked) == []
    assert checked.connector is not None
    return checked.connector


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": {}},
        {"auth": {}, "port": 465},
        {"auth": {}, "port": 465, "secure": False},
        {"auth": {}, "requireTLS": True},
        {"auth": {}, "ignoreTLS": True},
        {"auth": {}, "host": "::1", "name": "192.0.2.1", "localAddress": "::1"},
        {"auth": {}, "fromEmail": '"A \\"B\\", C" <a@b.example>', "replyTo": "<a@b.example>"},
        {"auth": {}, "replyTo": 'a@b.example, "A, B" <c@d.example>, Doe, John <e@f.example>'},
        {"auth": {}, "templates": [HTML, *plain_templates()]},
        {"auth": {}, "dnsTimeout": 1234.5, "maxConnections": 2, "maxMessages": 3, "idleTimeout": 1500},
        {"auth": {}, "tls": {"ca": ca_pem(), "minVersion": "TLSv1.3", "rejectUnauthorized": False}},
        {"auth": {}, "service": "gmail", "host": ..., "port": ...},
        {"auth": {}, "singleFlight": True, "customHeaders": {}},
        {"auth": {}, "rateLimit": 5, "rateDelta": 60_000},
        {"auth": {}, "otp": {"origin": "example.com:8443"}},
        {"auth": {}, "dsn": {"id": "a b", "return": "headers", "notify": "failure,delay", "recipient": "a@b.example"}},
    ],
)
def test_without_secrets_it_means_the_same(changes: dict[str, Any]) -> None:
    configuration = connector(**changes)
    assert again(configuration) == configuration


def test_an_operators_transcript_is_told() -> None:
    checked = check_profile(debug=True)
    assert checked.connector is not None
    assert normalized(checked.connector)["debug"] is True
    assert "debug" not in normalized(connector(debug=True))


def test_every_default_is_filled_in() -> None:
    document = normalized(connector(auth={}))
    assert document["connectionTimeout"] == 120_000
    assert document["dnsTimeout"] == 30_000
    assert document["maxConnections"] == 5
    assert document["tls"] == {"rejectUnauthorized": True, "minVersion": "TLSv1.2"}


def test_it_is_plain_json() -> None:
    document = normalized(connector())
    assert json.loads(json.dumps(document)) == document


def test_secrets_are_masked_and_it_is_a_document_again() -> None:
    document = normalized(connector(customHeaders={"X-Key": "k", "X-Two": ["1", "2"]}))
    assert document["auth"] == {"type": "login", "user": "ada@example.com", "pass": MASK}
    assert document["customHeaders"] == {"X-Key": MASK, "X-Two": [MASK, MASK]}
    auth = again(connector()).server.auth
    assert isinstance(auth, LoginAuth)
    assert auth.password.reveal() == MASK


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "OAuth2", "user": "u", "accessToken": "canary", "expires": 1_700_000_000_000},
        {"user": "u", "clientId": "c", "clientSecret": "canary", "refreshToken": "canary", "scope": "s"},
        {
            "user": "u",
            "clientId": "c",
            "clientSecret": "canary",
            "scope": "s",
            "accessUrl": "https://login.example.com",
        },
    ],
)
def test_every_grant_is_written_back(auth: dict[str, Any]) -> None:
    configuration = connector(auth=auth)
    assert "canary" not in json.dumps(normalized(configuration))
    before, after = configuration.server.auth, again(configuration).server.auth
    assert type(before) is type(after)
    assert normalized(again(configuration)) == normalized(configuration)


def test_a_signing_key_is_masked_and_what_it_signs_is_told() -> None:
    key = {"domainName": "example.com", "keySelector": "s", "privateKey": ed25519_pem()}
    shown = normalized(connector(dkim={**key, "headerFieldNames": "From:Subject"}))["dkim"]
    assert shown == {"keys": [{**key, "privateKey": MASK}], "headerFieldNames": "from:subject"}


def test_the_query_of_a_token_url_is_masked() -> None:
    document = {
        "host": "smtp.example.com",
        "auth": {
            "type": "OAuth2",
            "user": "a@example.com",
            "clientId": "client",
            "refreshToken": "refresh",
            "accessUrl": "https://login.example.com/token?key=CANARY",
        },
        "fromEmail": "a@example.com",
        "templates": [
            {"usageType": usage_type, "contentType": "text/plain", "subject": "s", "content": "{{code}}"}
            for usage_type in ("Register", "SignIn", "ForgotPassword", "Generic")
        ],
    }
    connector = read_document(document, origin=Origin.PROFILE).connector
    assert connector is not None
    written = normalized(connector)
    assert "CANARY" not in str(written)
    assert written["auth"]["accessUrl"] == "https://login.example.com/token?***"  # type: ignore[index, call-overload]
