from __future__ import annotations

import re
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.address import parse_address, parse_mailbox
from smtpconnector_server.message.mail import Composer
from smtpconnector_server.message.template import ContentType, Template, compile_template

ORIGIN = "https://accounts.example.com"


def headers(payload: dict[str, Any], *, opaque: bool = False, **changes: Any) -> list[str]:
    """The values of OTP-Token, unfolded."""
    fields = {
        "usage_type": "SignIn",
        "content_type": ContentType.PLAIN,
        "subject": "s",
        "content": "{{code}}",
        **changes,
    }
    composer = Composer(parse_mailbox("a@b.example"), otp_origin=ORIGIN)
    mail = composer.compose(
        compile_template(Template(**fields)),
        parse_address("c@d.example"),
        payload,
        date=0,
        message_id="<x@b.example>",
        opaque=opaque,
    )
    message = message_from_bytes(mail.octets, policy=policy.compat32.clone(linesep="\r\n"))
    return [value.replace("\r\n", "") for value in message.get_all("OTP-Token", [])]


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("123456", '"123456"'),
        (123456.0, '"123456"'),
        ("AB-12 cd", '"AB-12 cd"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("x" * 128, f'"{"x" * 128}"'),
    ],
)
@pytest.mark.parametrize("opaque", [False, True])
def test_binds_the_code_to_the_site(code: object, written: str, opaque: bool) -> None:
    assert headers({"code": code}, opaque=opaque) == [f'{written}; origin="{ORIGIN}"']


@pytest.mark.parametrize("code", ["", "käse", "a\tb", "x" * 129, None, {}, ["1"], {"a": "1"}])
def test_what_a_structured_field_cannot_hold_has_no_header(code: object) -> None:
    assert headers({"code": code}) == []


def test_a_mail_that_shows_no_code_has_no_header() -> None:
    assert headers({"code": "123456"}, content="Welcome") == []
    assert headers({"code": "123456"}, content="{{code.digits}}") == []
    assert headers({}) == []
    assert headers({"code": "123456"}, content="Welcome", subject="{{code}}") != []


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128))
@settings(max_examples=60, deadline=None)
def test_any_code_comes_out_as_it_went_in(code: str) -> None:
    (value,) = headers({"code": code})
    quoted, _, parameter = value.rpartition("; origin=")
    assert parameter == f'"{ORIGIN}"'
    assert re.sub(r"\\(.)", r"\1", quoted[1:-1]) == code
