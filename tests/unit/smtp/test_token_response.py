"""The answers of token end points."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.token_response import HttpAnswer, IssuedToken, read_answer

NOW = 1_700_000_000.0


def _read(status: int, document: object, *, retry_after: str = "", sent: tuple[str, ...] = ()) -> IssuedToken:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_answer(HttpAnswer(status, body, retry_after), sent=sent, now=NOW)


def _failure(status: int, document: object, *, retry_after: str = "", sent: tuple[str, ...] = ()) -> Failure:
    with pytest.raises(Failure) as caught:
        _read(status, document, retry_after=retry_after, sent=sent)
    assert (caught.value.stage, caught.value.outcome) == (Stage.TOKEN, Outcome.NOT_SENT)
    return caught.value


def test_reads_a_token_as_google_issues_it() -> None:
    answer = {
        "access_token": "ya29.new",
        "expires_in": 3599,
        "scope": "https://mail.google.com/",
        "token_type": "Bearer",
    }
    assert _read(200, answer) == IssuedToken(Secret("ya29.new"), 3599.0, None)


def test_reads_a_rotated_refresh_token() -> None:
    assert _read(200, {"access_token": "new", "refresh_token": "rotated"}).refresh_token == Secret("rotated")


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        (3600, 3600),
        (3599.5, 3599.5),
        ("3600", 3600),
        (0, 0),
        (-5, 0),
        pytest.param(10**400, 86400, id="huge"),
        (float("inf"), 86400),
        (float("nan"), 0),
        ("soon", 300),
        (True, 300),
        (None, 300),
        ([3600], 300),
    ],
)
def test_a_lifetime_is_finite_never_negative_and_short_where_unknown(expires_in: object, lifetime: float) -> None:
    assert _read(200, {"access_token": "new", "expires_in": expires_in}).lifetime == lifetime


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>maintenance</html>",
        b"[" * 60_000,
        b"\xff\xfe",
        b'{"access_token": ' + b"1" * 5000 + b"}",
        [],
        "access_token",
        {},
        {"access_token": ""},
        {"access_token": 5},
        {"access_token": "two\x01fields"},
        {"access_token": "two\r\nlines"},
        {"access_token": "non-ASCII \u00e9"},
        {"access_token": "new", "token_type": "mac"},
    ],
)
def test_a_success_without_a_usable_bearer_token_is_an_unavailable_end_point(document: object) -> None:
    assert _failure(200, document).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (429, {"error": "rate_limit_exceeded"}),
        (500, b""),
        (502, b"<html>"),
        (503, {"error": "invalid_grant"}),
        (408, b""),
        (400, {"error": "temporarily_unavailable"}),
        (302, b""),
        (301, {"access_token": "from a redirect"}),
    ],
)
def test_an_end_point_that_is_busy_or_moved_is_unavailable(status: int, document: object) -> None:
    assert _failure(status, document).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999999", 3600.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-7", None),
        ("1e9", None),
        ("Tue, 99 Nov 2023 22:13:10 GMT", None),
    ],
)
def test_honours_retry_after_in_both_forms_within_an_hour(value: str, seconds: float | None) -> None:
    assert _failure(429, b"", retry_after=value).retry_after == seconds


@pytest.mark.parametrize(
    ("status", "document", "message"),
    [
        (400, {"error": "invalid_grant"}, "refused the credentials (invalid_grant): the refresh token expired"),
        (401, {"error": "invalid_client"}, "(invalid_client): check the client's ID and secret"),
        (200, {"error": "invalid_grant"}, "refused the credentials (invalid_grant)"),
        (
            400,
            {"error": "invalid_grant", "error_description": "AADSTS700082: canary of a@example.com"},
            "(invalid_grant, AADSTS700082)",
        ),
        (400, {"error": "some_other_error"}, "(some_other_error): check the token URL and the credentials"),
        (400, {"error": {"status": "INVALID_ARGUMENT"}}, "refused the credentials: check the token URL"),
        (404, b"<html>", "answered HTTP 404 without an OAuth 2.0 error: check the token URL"),
    ],
)
def test_a_refusal_names_the_error_code_and_what_to_do(status: int, document: object, message: str) -> None:
    failure = _failure(status, document)
    assert failure.reason is Reason.OAUTH2_TOKEN_REJECTED
    assert message in failure.message
    assert "canary" not in failure.message


@pytest.mark.parametrize(
    "error", ["canary-secret", "canary\r\nX: y", "\u202ecanary", "c" * 41, "canary", "canary_secret", "1//canary"]
)
def test_an_end_point_that_echoes_a_secret_puts_nothing_of_it_in_the_message(error: str) -> None:
    failure = _failure(400, {"error": error}, sent=(error, "prefix canary_secret"))
    assert error not in failure.message
    assert "canary" not in failure.message


def _outcome(answer: HttpAnswer) -> IssuedToken | Failure:
    try:
        return read_answer(answer, sent=(), now=NOW)
    except Failure as failure:
        return failure


@settings(max_examples=200, deadline=None)
@given(status=st.integers(200, 599), body=st.binary(max_size=200), retry_after=st.text(max_size=40))
def test_octets_that_are_no_answer_are_a_failure(status: int, body: bytes, retry_after: str) -> None:
    outcome = _outcome(HttpAnswer(status, body, retry_after))
    assert isinstance(outcome, Failure)
    assert outcome.retry_after is None or 0 <= outcome.retry_after <= 3600


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
_fields = st.sampled_from(
    ["access_token", "expires_in", "refresh_token", "token_type", "error", "error_description", "scope"]
)


@settings(max_examples=300, deadline=None)
@given(status=st.sampled_from([200, 400, 401, 302]), document=st.dictionaries(_fields, _json))
def test_any_json_is_a_printable_token_or_a_failure_in_printable_ascii(status: int, document: object) -> None:
    outcome = _outcome(HttpAnswer(status, json.dumps(document).encode()))
    if isinstance(outcome, Failure):
        assert outcome.message.isascii()
        assert outcome.message.isprintable()
    else:
        assert re.fullmatch("[!-~]+", outcome.access_token.reveal())
        assert 0 <= outcome.lifetime <= 86400
