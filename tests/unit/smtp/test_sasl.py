from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from smtpconnector_server.config.model import AccessToken, LoginAuth, LoginMechanism, OAuth2Auth, TokenMechanism
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.sasl import BadChallengeError, choose_mechanism, login_exchange, token_exchange

_TOKEN = Secret("ya29.token")
_PASSWORD = "p"


def _login(user: str = "u", password: str = _PASSWORD, *, mechanism: LoginMechanism | None = None) -> LoginAuth:
    return LoginAuth(user=user, password=Secret(password), mechanism=mechanism)


def _oauth(user: str = "u@d.example", mechanism: TokenMechanism | None = None) -> OAuth2Auth:
    return OAuth2Auth(user=user, source=AccessToken(token=_TOKEN), mechanism=mechanism)


def test_plain_goes_in_one_command() -> None:
    exchange = login_exchange(_login(), ["PLAIN"], host="h")
    assert exchange.command() == b"AUTH PLAIN " + b64encode(b"\0u\0p")


def test_login_answers_two_challenges_whatever_they_ask() -> None:
    exchange = login_exchange(_login(), ["LOGIN"], host="h")
    assert exchange.command() == b"AUTH LOGIN"
    assert exchange.answer("VXNlcm5hbWU6") == b64encode(b"u")
    assert exchange.answer("") == b64encode(b"p")


def test_cram_md5_is_that_of_rfc_2195() -> None:
    exchange = login_exchange(_login("tim", "tanstaaftanstaaf"), ["CRAM-MD5"], host="h")
    assert exchange.command() == b"AUTH CRAM-MD5"
    challenge = "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    assert exchange.answer(challenge) == b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"


def test_xoauth2_goes_in_one_command_and_fetches_the_error_with_an_empty_line() -> None:
    exchange = token_exchange(_oauth(), _TOKEN, ["XOAUTH2"], host="h", port=587)
    assert b64decode(exchange.command().removeprefix(b"AUTH XOAUTH2 ")) == (
        b"user=u@d.example\x01auth=Bearer ya29.token\x01\x01"
    )
    assert exchange.answer("eyJzdGF0dXMiOiI0MDAifQ==") == b""


def test_oauthbearer_is_that_of_rfc_7628_with_its_name_escaped() -> None:
    exchange = token_exchange(_oauth("a=b,c@d.example"), _TOKEN, ["OAUTHBEARER"], host="mail.example", port=587)
    assert b64decode(exchange.command().removeprefix(b"AUTH OAUTHBEARER ")) == (
        b"n,a=a=3Db=2Cc@d.example,\x01host=mail.example\x01port=587\x01auth=Bearer ya29.token\x01\x01"
    )
    assert b64decode(exchange.answer("e30=")) == b"\x01"


def test_a_response_too_long_for_a_command_waits_for_the_challenge() -> None:
    token = Secret("t" * 2000)
    exchange = token_exchange(_oauth(), token, ["XOAUTH2"], host="h", port=587)
    assert exchange.command() == b"AUTH XOAUTH2"
    assert b64decode(exchange.answer("")) == b"user=u@d.example\x01auth=Bearer " + b"t" * 2000 + b"\x01\x01"
    assert exchange.answer("e30=") == b""


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["LOGIN", "PLAIN"], "PLAIN"),
        (["CRAM-MD5", "LOGIN"], "LOGIN"),
        (["XOAUTH2", "CRAM-MD5"], "CRAM-MD5"),
    ],
)
def test_takes_the_first_of_its_own_order_that_is_offered(offered: list[str], chosen: str) -> None:
    assert choose_mechanism(_login(), offered, host="h") == chosen


@pytest.mark.parametrize(
    ("auth", "offered"),
    [
        (_login(), []),
        (_login(), ["XOAUTH2", "GSSAPI"]),
        (_login(mechanism=LoginMechanism.CRAM_MD5), ["PLAIN", "LOGIN"]),
        (_oauth(), ["PLAIN"]),
        (_oauth(mechanism=TokenMechanism.OAUTHBEARER), ["XOAUTH2"]),
    ],
)
def test_does_not_try_a_mechanism_that_is_not_offered(auth: LoginAuth | OAuth2Auth, offered: list[str]) -> None:
    with pytest.raises(Failure) as raised:
        choose_mechanism(auth, offered, host="h")
    assert raised.value.reason is Reason.SMTP_AUTH_UNSUPPORTED
    assert raised.value.stage is Stage.AUTH


@pytest.mark.parametrize("octet", ["\0", "\x01", "\r", "\n", "\x7f"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_refuses_control_characters_in_a_user_name_or_password(octet: str, mechanism: str) -> None:
    for auth in (_login(f"u{octet}admin"), _login(password=f"p{octet}x")):
        with pytest.raises(Failure) as raised:
            login_exchange(auth, [mechanism], host="h")
        assert raised.value.reason is Reason.INVALID_CONFIG
        assert "admin" not in str(raised.value)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_refuses_control_characters_in_a_mailbox_or_token(mechanism: str) -> None:
    for auth, token in ((_oauth("u\x01auth=Bearer x"), _TOKEN), (_oauth(), Secret("t\r\nRSET"))):
        with pytest.raises(Failure) as raised:
            token_exchange(auth, token, [mechanism], host="h", port=587)
        assert raised.value.reason is Reason.INVALID_CONFIG


def test_answers_no_challenge_beyond_its_mechanism() -> None:
    plain = login_exchange(_login(), ["PLAIN"], host="h")
    plain.command()
    with pytest.raises(BadChallengeError):
        plain.answer("")
    login = login_exchange(_login(), ["LOGIN"], host="h")
    login.command()
    login.answer("")
    login.answer("")
    with pytest.raises(BadChallengeError):
        login.answer("")


def test_answers_no_challenge_that_is_not_base64() -> None:
    exchange = login_exchange(_login(), ["CRAM-MD5"], host="h")
    exchange.command()
    with pytest.raises(BadChallengeError):
        exchange.answer("<1896.697170952@postoffice>")
