"""The origin of OTP-Token: what nodemailer's ``otp`` takes, as the draft wants it written."""

from __future__ import annotations

import pytest

from harness.configuration import check, connector, errors, said


@pytest.mark.parametrize(
    ("origin", "canonical"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM:443/sign-in?x#y", "https://example.com"),
        ("example.com", "https://example.com"),
        ("example.com:8443", "https://example.com:8443"),
        ("https://example.com.", "https://example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://192.0.2.1", "https://192.0.2.1"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://app.localhost:80", "http://app.localhost"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_becomes_canonical(origin: str, canonical: str) -> None:
    assert check(otp={"origin": origin}).findings == ()
    assert connector(otp={"origin": origin}).otp_origin == canonical


@pytest.mark.parametrize("otp", [None, {}, {"origin": ""}, {"origin": None}])
def test_nothing_said_means_no_header(otp: object) -> None:
    assert check(otp=otp).findings == ()
    assert connector(otp=otp).otp_origin is None


@pytest.mark.parametrize(
    "origin",
    [
        *("http://example.com", "ftp://example.com", "https://", "https://exa mple.com", "https://[::1"),
        *("https://example.com@evil.example", "https://a:b@example.com", "https://example.com:99999", "//example.com"),
        *("https://example.com\\@evil.example", 'https://example.com"; x="', "https://127.1", "http://localhost.evil"),
        "https://example.com\r\nBcc: a@b.example",
    ],
)
def test_an_origin_that_no_code_can_be_bound_to_is_an_error(origin: str) -> None:
    assert errors(check(otp={"origin": origin})) == [("otp.origin", "INVALID_URL")]


def test_a_code_of_the_configuration_would_be_the_same_in_every_mail() -> None:
    assert said(check(otp={"origin": "https://example.com", "code": "123456"})) == [
        ("WARNING", "otp.code", "NO_EFFECT")
    ]


def test_the_header_may_come_from_one_place_only() -> None:
    checked = check(
        otp={"origin": "https://example.com"}, customHeaders={"otp-token": '"1"; origin="https://x.example"'}
    )
    assert errors(checked) == [("customHeaders.otp-token", "CONTRADICTION")]
    assert check(customHeaders={"OTP-Token": '"1"; origin="https://x.example"'}).findings == ()
