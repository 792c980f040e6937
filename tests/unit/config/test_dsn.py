"""Delivery status notifications as nodemailer takes them (its ``dsn``), and what RFC 3461 does not allow."""

from __future__ import annotations

from typing import Any

import pytest

from harness.configuration import check, connector, errors, said
from smtpconnector_server.config.model import Dsn, DsnEvent, DsnReturn


def dsn(**options: Any) -> Dsn | None:
    return connector(dsn=options).dsn


@pytest.mark.parametrize("options", [{}, {"id": None, "notify": [], "return": ""}, {"notify": [""]}])
def test_nothing_said_asks_for_nothing(options: dict[str, Any]) -> None:
    assert check(dsn=options).findings == ()
    assert dsn(**options) is None
    assert connector(dsn=None).dsn is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"id": "campaign-7"}, Dsn(envelope_id="campaign-7")),
        ({"envid": "wins", "id": "loses"}, Dsn(envelope_id="wins")),
        ({"return": "headers"}, Dsn(returned=DsnReturn.HEADERS)),
        ({"return": "HDRS"}, Dsn(returned=DsnReturn.HEADERS)),
        ({"return": "Body"}, Dsn(returned=DsnReturn.FULL)),
        ({"ret": "full", "return": "headers"}, Dsn(returned=DsnReturn.FULL)),
        ({"notify": "never"}, Dsn(notify=(DsnEvent.NEVER,))),
        ({"notify": " failure , delay"}, Dsn(notify=(DsnEvent.FAILURE, DsnEvent.DELAY))),
        ({"notify": ["success", "Failure", "success"]}, Dsn(notify=(DsnEvent.SUCCESS, DsnEvent.FAILURE))),
    ],
)
def test_is_what_nodemailer_makes_of_it(options: dict[str, Any], expected: Dsn) -> None:
    assert check(dsn=options).findings == ()
    assert dsn(**options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"recipient": "ada@example.com"}, "rfc822;ada@example.com"),
        ({"orcpt": "rfc822;ada@example.com"}, "rfc822;ada@example.com"),
        ({"orcpt": "x400;/c=de/", "recipient": ""}, "x400;/c=de/"),
        ({"recipient": "wins@example.com", "orcpt": "loses@example.com"}, "rfc822;wins@example.com"),
    ],
)
def test_one_original_recipient_for_every_mail_is_taken_and_said(options: dict[str, Any], expected: str) -> None:
    key = next(key for key, value in options.items() if value)
    assert said(check(dsn=options)) == [("WARNING", f"dsn.{key}", "SAME_FOR_EVERY_MAIL")]
    assert dsn(**options) == Dsn(original_recipient=expected)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"id": "x" * 101}, ("dsn.id", "INVALID_VALUE")),
        ({"id": "+" * 34}, ("dsn.id", "INVALID_VALUE")),
        ({"envid": "käse"}, ("dsn.envid", "INVALID_VALUE")),
        ({"id": "a\r\nDATA"}, ("dsn.id", "INVALID_VALUE")),
        ({"return": "some"}, ("dsn.return", "INVALID_VALUE")),
        ({"ret": "FULL BODY=8BITMIME"}, ("dsn.ret", "INVALID_VALUE")),
        ({"notify": "success,always"}, ("dsn.notify", "INVALID_VALUE")),
        ({"notify": ["never", "failure"]}, ("dsn.notify", "CONTRADICTION")),
        ({"notify": [5]}, ("dsn.notify[0]", "WRONG_TYPE")),
        ({"recipient": "nobody"}, ("dsn.recipient", "INVALID_ADDRESS")),
        ({"orcpt": "rfc822;a@b.example\r\nDATA"}, ("dsn.orcpt", "INVALID_VALUE")),
        ({"orcpt": ";a@b.example"}, ("dsn.orcpt", "INVALID_VALUE")),
        ({"orcpt": "rfc822;"}, ("dsn.orcpt", "INVALID_VALUE")),
    ],
)
def test_what_no_server_could_take_is_an_error(options: dict[str, Any], error: tuple[str, str]) -> None:
    assert errors(check(dsn=options)) == [error]


def test_an_id_may_fill_its_room_and_no_more() -> None:
    assert dsn(id="x" * 100) is not None
    assert dsn(id="= " * 16 + "xxxx") is not None


def test_an_unknown_key_is_said() -> None:
    assert said(check(dsn={"envId": "x"})) == [("WARNING", "dsn.envId", "UNKNOWN_KEY")]
