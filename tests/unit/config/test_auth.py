from __future__ import annotations

import functools
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from harness.configuration import check, connector, errors, said, the_finding
from smtpconnector_server.config.model import (
    AccessToken,
    ClientCredentialsGrant,
    LoginAuth,
    LoginMechanism,
    OAuth2Auth,
    RefreshTokenGrant,
    ServiceAccountGrant,
    TokenMechanism,
)
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.config.token_endpoints import GOOGLE_SCOPE, GOOGLE_TOKEN_URL, MICROSOFT_APPLICATION_SCOPE


@functools.cache
def rsa_key_pem(passphrase: str = "") -> str:
    key = rsa.generate_private_key(65537, 2048)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem.decode()


def auth_of(**auth: Any) -> Any:
    return connector(auth=auth).server.auth


class TestLogin:
    @pytest.mark.parametrize("kind", [{}, {"type": "login"}, {"type": "Login"}, {"type": "LOGIN"}, {"type": None}])
    def test_is_a_user_and_a_password(self, kind: dict[str, Any]) -> None:
        assert auth_of(user="u", **{"pass": "p"}, **kind) == LoginAuth(user="u", password=Secret("p"))

    @pytest.mark.parametrize("auth", [{}, {"type": "login"}, {"user": "", "pass": ""}, {"user": None}])
    def test_without_user_and_password_is_none(self, auth: dict[str, Any]) -> None:
        assert auth_of(**auth) is None

    def test_is_whole_or_a_fault(self) -> None:
        assert errors(check(auth={"user": "u"})) == [("auth.pass", "HALF_CREDENTIALS")]
        assert errors(check(auth={"pass": "p", "type": "login"})) == [("auth.user", "HALF_CREDENTIALS")]

    @pytest.mark.parametrize("auth", [{"type": "login", "user": "u", "pass": "p"}, {"pass": "p"}])
    def test_may_hold_nothing_else_where_logtos_guard_is_strict(self, auth: dict[str, Any]) -> None:
        assert ("auth.foo", "UNKNOWN_KEY") in errors(check(auth={**auth, "foo": 1}))

    def test_may_hold_more_where_logtos_guard_lets_it(self) -> None:
        assert said(check(auth={"user": "u", "pass": "p", "foo": 1})) == [("WARNING", "auth.foo", "UNKNOWN_KEY")]

    def test_names_the_key_that_was_meant(self) -> None:
        assert "user" in the_finding(check(auth={"username": "u", "password": "p"}), "auth.username").hint

    @pytest.mark.parametrize("place", ["auth", "top"])
    def test_may_choose_its_mechanism(self, place: str) -> None:
        login = {"user": "u", "pass": "p"}
        changes = (
            {"auth": {**login, "method": "cram-md5"}} if place == "auth" else {"auth": login, "authMethod": "CRAM-MD5"}
        )
        auth = connector(**changes).server.auth
        assert auth is not None
        assert auth.mechanism is LoginMechanism.CRAM_MD5

    @pytest.mark.parametrize("method", ["NTLM", "XOAUTH2"])
    def test_cannot_choose_any_other_mechanism(self, method: str) -> None:
        assert errors(check(auth={"user": "u", "pass": "p", "method": method})) == [("auth.method", "INVALID_VALUE")]
        assert errors(check(authMethod=method)) == [("authMethod", "INVALID_VALUE")]
        assert errors(check(auth={"method": method})) == [("auth.method", "INVALID_VALUE")]

    @pytest.mark.parametrize("character", ["\x00", "\r", "\n", "\x01", "\x7f"])
    def test_has_no_control_character_in_its_user(self, character: str) -> None:
        assert errors(check(auth={"user": f"u{character}x", "pass": "p"})) == [("auth.user", "CONTROL_CHARACTER")]

    @pytest.mark.parametrize("character", ["\x00", "\r", "\n"])
    def test_has_no_line_break_in_its_password(self, character: str) -> None:
        assert errors(check(auth={"user": "u", "pass": f"p{character}x"})) == [("auth.pass", "CONTROL_CHARACTER")]

    def test_with_white_space_around_it_is_noticed(self) -> None:
        assert said(check(auth={"user": "u", "pass": "p "})) == [("WARNING", "auth.pass", "SURROUNDING_SPACE")]

    def test_of_another_kind_is_refused(self) -> None:
        for kind in ("plain", "custom", "oAuth2", "XOAUTH2", 5, ""):
            assert errors(check(auth={"type": kind, "user": "u", "pass": "p"})) == [("auth.type", "INVALID_VALUE")]
        assert "oauth2" in the_finding(check(auth={"type": "oAuth2", "user": "u"}), "auth.type").hint


class TestOAuth2:
    def test_with_a_ready_token(self) -> None:
        assert auth_of(type="OAuth2", user="u", accessToken="t", expires=1_700_000_000_000) == OAuth2Auth(
            user="u", source=AccessToken(token=Secret("t"), expires_at=1_700_000_000)
        )

    def test_with_a_token_that_has_ended_is_noticed(self) -> None:
        auth = {"user": "u", "accessToken": "t", "expires": 1_700_000_000_000}
        assert said(check(auth=auth)) == [("WARNING", "auth.expires", "TOKEN_EXPIRED")]
        assert check(auth={**auth, "expires": 9_999_999_999_999}).findings == ()

    def test_with_a_refresh_token(self) -> None:
        auth = auth_of(type="oauth2", user="u", clientId="c", clientSecret="s", refreshToken="r", accessToken="t")
        assert auth.source == RefreshTokenGrant(
            client_id="c",
            client_secret=Secret("s"),
            refresh_token=Secret("r"),
            token_url=GOOGLE_TOKEN_URL,
            access_token=AccessToken(token=Secret("t")),
        )

    def test_of_a_service_account(self) -> None:
        pem = rsa_key_pem()
        auth = auth_of(type="OAUTH2", user="u", serviceClient="s", privateKey=pem)
        assert auth.source == ServiceAccountGrant(
            service_client="s",
            private_key_pem=Secret(pem),
            private_key_passphrase=None,
            token_url=GOOGLE_TOKEN_URL,
            scope=GOOGLE_SCOPE,
        )

    def test_of_a_service_account_with_an_encrypted_key(self) -> None:
        pem = rsa_key_pem("open sesame")
        key = {"key": pem, "passphrase": "open sesame"}
        assert auth_of(user="u", serviceClient="s", privateKey=key).source.private_key_passphrase == Secret(
            "open sesame"
        )
        wrong = {"key": pem, "passphrase": "no"}
        checked = check(auth={"user": "u", "serviceClient": "s", "privateKey": wrong})
        assert errors(checked) == [("auth.privateKey.key", "INVALID_PRIVATE_KEY")]

    def test_of_an_application_at_microsoft(self) -> None:
        url = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"
        auth = auth_of(user="u", clientId="c", clientSecret="s", accessUrl=url)
        assert auth.source == ClientCredentialsGrant(
            client_id="c", client_secret=Secret("s"), token_url=url, scope=MICROSOFT_APPLICATION_SCOPE
        )

    def test_of_an_application_elsewhere_needs_a_scope(self) -> None:
        auth = {"user": "u", "clientId": "c", "clientSecret": "s", "accessUrl": "https://login.example.com/token"}
        assert errors(check(auth=auth)) == [("auth.scope", "MISSING_FIELD")]
        assert auth_of(**auth, scope="mail").source.scope == "mail"

    def test_is_inferred_from_its_keys(self) -> None:
        assert auth_of(user="u", accessToken="t").source == AccessToken(token=Secret("t"))

    def test_beside_a_password_without_type_is_a_login_as_for_nodemailer(self) -> None:
        checked = check(auth={"user": "u", "pass": "p", "accessToken": "t"})
        assert checked.connector is not None
        assert isinstance(checked.connector.server.auth, LoginAuth)
        assert [field for _, field, _ in said(checked)] == ["auth.accessToken"]

    @pytest.mark.parametrize(
        ("auth", "field"),
        [
            ({"type": "oauth2", "accessToken": "t"}, "auth.user"),
            ({"type": "oauth2", "user": "u"}, "auth.accessToken"),
            ({"user": "u", "refreshToken": "r"}, "auth.clientId"),
            ({"user": "u", "serviceClient": "s"}, "auth.privateKey"),
            ({"user": "u", "serviceClient": "s", "privateKey": {}}, "auth.privateKey.key"),
            ({"user": "u", "clientSecret": "s", "accessUrl": "https://x.example", "scope": "s"}, "auth.clientId"),
        ],
    )
    def test_names_what_is_missing(self, auth: dict[str, Any], field: str) -> None:
        assert (field, "MISSING_FIELD") in errors(check(auth=auth))

    @pytest.mark.parametrize(
        "url",
        [
            *("http://login.example.com/token", "file:///etc/passwd", "gopher://x", "login.example.com", "https://"),
            *(
                "https://user:pass@login.example.com/",
                "https://login.example.com/#x",
                "https://a b/",
                "https://x:99999/",
            ),
            *("https://[::1/", "https://x:0/"),
        ],
    )
    def test_asks_for_tokens_over_https_only(self, url: str) -> None:
        auth = {"user": "u", "clientId": "c", "refreshToken": "r", "accessUrl": url}
        assert errors(check(auth=auth)) == [("auth.accessUrl", "INVALID_URL")]

    @pytest.mark.parametrize("token", ["a b", "a\x01b", "ä", "a\n"])
    def test_has_a_token_of_printable_ascii(self, token: str) -> None:
        assert errors(check(auth={"user": "u", "accessToken": token})) == [("auth.accessToken", "CONTROL_CHARACTER")]

    def test_may_choose_its_mechanism(self) -> None:
        assert auth_of(user="u", accessToken="t", method="oauthbearer").mechanism is TokenMechanism.OAUTHBEARER
        assert errors(check(auth={"user": "u", "accessToken": "t", "method": "PLAIN"})) == [
            ("auth.method", "INVALID_VALUE")
        ]

    def test_has_a_key_that_signs_rs256(self) -> None:
        elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for pem in (
            "k",
            "/run/key.pem",
            elliptic.decode(),
            "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",
        ):
            checked = check(auth={"user": "u", "serviceClient": "s", "privateKey": pem})
            assert [field for field, _ in errors(checked)] == ["auth.privateKey"]

    @pytest.mark.parametrize(
        "key", ["timeout", "serviceRequestTimeout", "customParams", "customHeaders", "tls", "requestTimeout", "pass"]
    )
    def test_says_which_of_nodemailers_keys_have_no_effect(self, key: str) -> None:
        checked = check(auth={"type": "oauth2", "user": "u", "accessToken": "t", key: "x"})
        assert [(severity, field) for severity, field, _ in said(checked)] == [("WARNING", f"auth.{key}")]
