from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.address import AddressError, Mailbox
from smtpconnector_server.message.mailbox_text import MailboxText

if TYPE_CHECKING:
    from smtpconnector_server.failure import Violation


def render(text: str, payload: dict[str, Any]) -> tuple[Mailbox | None, list[str]]:
    violations: list[Violation] = []
    mailbox = MailboxText(text, name="send_from").render(payload, violations, "template")
    assert not (mailbox and violations)
    return mailbox, [violation.field for violation in violations]


def rendered(text: str, payload: dict[str, Any]) -> tuple[str, str]:
    mailbox, violations = render(text, payload)
    assert mailbox, violations
    return mailbox.name, str(mailbox.address)


@pytest.mark.parametrize(
    ("text", "payload", "name", "address"),
    [
        ("{{app}} <a@b.example>", {"app": "Test app"}, "Test app", "a@b.example"),
        ("{{app}} <a@b.example>", {"app": ""}, "", "a@b.example"),
        ("{{app.name}} <a@b.example>", {}, "{{app.name}}", "a@b.example"),
        ('"{{app}}, Inc." <a@b.example>', {"app": "X"}, "X, Inc.", "a@b.example"),
        ("{{user.email}}", {"user": {"email": "c@d.example"}}, "", "c@d.example"),
        ("<{{email}}>", {"email": "c@d.example"}, "", "c@d.example"),
        ("{{app}} <{{user}}@b.example>", {"app": "A", "user": "u"}, "A", "u@b.example"),
        ("Fixed <a@b.example>", {}, "Fixed", "a@b.example"),
    ],
)
def test_name_and_address_are_rendered_apart(text: str, payload: dict[str, Any], name: str, address: str) -> None:
    assert rendered(text, payload) == (name, address)


@pytest.mark.parametrize(
    "value",
    ["Evil <e@e.example>,", '"Evil" <e@e.example>', "e@e.example,", "x: e@e.example;", "\\", '"', "<", "(", "a,b"],
)
def test_a_value_in_the_name_stays_in_the_name(value: str) -> None:
    assert rendered("{{app}} <a@b.example>", {"app": value}) == (value, "a@b.example")


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=70))
def test_no_value_in_the_name_changes_the_address(value: str) -> None:
    mailbox, violations = render("{{app}} <a@b.example>", {"app": value})

    assert violations == ["payload.app"] * len(violations)
    assert violations or (mailbox and str(mailbox.address) == "a@b.example")


@pytest.mark.parametrize(
    "value",
    [
        "e@e.example, f@f.example",
        "Name <e@e.example>",
        "<e@e.example>",
        "e@e.example\r\nBcc: f@f.example",
        "e@e.example ",
        "nobody",
        "a@p\u0430ypal.com",
        "a@localhost",
    ],
)
def test_a_value_that_is_the_address_must_be_one_address(value: str) -> None:
    assert render("{{user.email}}", {"user": {"email": value}})[1] == ["payload.user.email"]


def test_an_address_whose_value_is_missing_is_told() -> None:
    assert render("{{app}} <{{user.email}}>", {"app": "A"})[1] == ["payload.user.email"]
    assert render("{{user.name}}@b.example", {})[1] == ["payload.user.name"]


@pytest.mark.parametrize("payload", [{"user": {}}, {"user": {"email": ""}}, {"user": None}, {}])
def test_an_empty_mailbox_is_none(payload: dict[str, Any]) -> None:
    assert render("{{user.email}}", payload) == (None, [])


def test_a_name_without_an_address_is_no_empty_mailbox() -> None:
    assert render("{{app}} <{{user.email}}>", {"app": "A", "user": {}})[1] == ["payload.user.email"]


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("x" * 64, True),
        ("x" * 65, False),
        ("a\u200bb", False),
        ("a\ufeffb", False),
        ("a\u202eb", False),
        ("a\u2066b", False),
        ("a\nb", False),
        ("a\x7fb", False),
        ("a\ud800", False),
        ("Your prize: https://evil.example", False),
        ("WWW.evil.example", False),
        ("awww.example", True),
    ],
)
def test_a_name_from_the_payload_hides_nothing_and_links_nowhere(value: str, fits: bool) -> None:
    _, violations = render("{{app}} <a@b.example>", {"app": value})

    assert violations == ([] if fits else ["payload.app"])


def test_a_name_far_too_long_is_not_even_built() -> None:
    assert render("{{app}} <a@b.example>", {"app": "x" * 60_000})[1] == ["template.send_from"]


def test_a_name_of_the_templates_own_may_be_longer() -> None:
    assert rendered("x" * 100 + " <a@b.example>", {})[0] == "x" * 100


@pytest.mark.parametrize(
    "text",
    [
        "a@b.example, c@d.example",
        "{{a}}, {{b}}",
        "{{a}} {{b}}",
        "{{name}} <{{address}}>, x@y.example",
        "{{group}}: {{a}};",
        "{{name}} <no address>",
        "{{name}} <>",
        "{{name}}\n <a@b.example>",
    ],
)
def test_a_text_that_can_be_no_mailbox_is_refused_before_any_value(text: str) -> None:
    with pytest.raises(AddressError):
        MailboxText(text, name="send_from")
