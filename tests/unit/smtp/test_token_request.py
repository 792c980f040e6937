"""The forms that are sent to token end points."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtpconnector_server.config.model import ClientCredentialsGrant, RefreshTokenGrant, ServiceAccountGrant
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.config.token_endpoints import (
    GOOGLE_SCOPE,
    GOOGLE_TOKEN_URL,
    MICROSOFT_APPLICATION_SCOPE,
)
from smtpconnector_server.smtp.token_request import token_form

NOW = 1_700_000_000.75


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def _service_account(key: RSAPrivateKey) -> ServiceAccountGrant:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return ServiceAccountGrant(
        service_client="robot@project.iam.gserviceaccount.com",
        private_key_pem=Secret(pem),
        private_key_passphrase=None,
        token_url=GOOGLE_TOKEN_URL,
        scope=GOOGLE_SCOPE,
    )


def test_a_refresh_token_grant_sends_the_fields_in_the_order_of_nodemailer() -> None:
    grant = RefreshTokenGrant(
        client_id="id", client_secret=Secret("secret"), refresh_token=Secret("refresh"), token_url=GOOGLE_TOKEN_URL
    )
    assert list(token_form(grant, user="a@example.com", now=NOW).items()) == [
        ("client_id", "id"),
        ("client_secret", "secret"),
        ("refresh_token", "refresh"),
        ("grant_type", "refresh_token"),
    ]


def test_a_public_client_sends_no_secret_and_a_scope_is_sent_where_there_is_one() -> None:
    grant = RefreshTokenGrant(
        client_id="id",
        client_secret=None,
        refresh_token=Secret("refresh"),
        token_url="https://login.microsoftonline.com/common/oauth2/v2.0/token",
        scope="https://outlook.office.com/SMTP.Send offline_access",
    )
    assert token_form(grant, user="a@example.com", now=NOW) == {
        "client_id": "id",
        "refresh_token": "refresh",
        "grant_type": "refresh_token",
        "scope": "https://outlook.office.com/SMTP.Send offline_access",
    }


def test_client_credentials_name_no_user() -> None:
    grant = ClientCredentialsGrant(
        client_id="id",
        client_secret=Secret("secret"),
        token_url="https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
        scope=MICROSOFT_APPLICATION_SCOPE,
    )
    assert grant.token_url == "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
    assert token_form(grant, user="a@example.com", now=NOW) == {
        "client_id": "id",
        "client_secret": "secret",
        "grant_type": "client_credentials",
        "scope": "https://outlook.office365.com/.default",
    }


def test_a_service_account_signs_who_it_is_and_for_whom_it_acts(key: RSAPrivateKey) -> None:
    form = token_form(_service_account(key), user="a@example.com", now=NOW)
    assert form.pop("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assertion = form.pop("assertion")
    assert not form
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "JWT"}
    checks_of_the_clock = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        assertion, key.public_key(), algorithms=["RS256"], audience=GOOGLE_TOKEN_URL, options=checks_of_the_clock
    )
    issued_at, expires_at = claims.pop("iat"), claims.pop("exp")
    assert claims == {
        "iss": "robot@project.iam.gserviceaccount.com",
        "scope": "https://mail.google.com/",
        "sub": "a@example.com",
        "aud": "https://oauth2.googleapis.com/token",
    }
    assert issued_at <= NOW < expires_at
    assert expires_at - issued_at <= 3600


def test_a_key_that_cannot_sign_is_a_value_error() -> None:
    grant = ServiceAccountGrant(
        service_client="robot",
        private_key_pem=Secret("no key"),
        private_key_passphrase=None,
        token_url=GOOGLE_TOKEN_URL,
        scope=GOOGLE_SCOPE,
    )
    with pytest.raises(ValueError, match="not a private key in PEM form"):
        token_form(grant, user="a@example.com", now=NOW)
