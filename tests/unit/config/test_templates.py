from __future__ import annotations

from typing import Any

import pytest

from harness.configuration import check, connector, document, errors, said, the_finding
from harness.documents import plain_templates
from smtpconnector_server.config.typed import read_template
from smtpconnector_server.message.template import ContentType, Template


def with_first(**changes: Any) -> list[dict[str, Any]]:
    first, *rest = plain_templates()
    changed = {**first, **changes}
    return [{key: value for key, value in changed.items() if value is not ...}, *rest]


def first_template(**changes: Any) -> Template:
    return connector(templates=with_first(**changes)).templates[0]


def test_all_keys_are_read() -> None:
    template = first_template(
        contentType="text/html",
        content="<p>{{code}}</p>",
        textContent="{{code}}",
        replyTo="{{user.primaryEmail}}",
        sendFrom="{{application.name}} <notice@example.com>",
        languageTag="pt-BR",
    )
    assert template == Template(
        usage_type="Register",
        content_type=ContentType.HTML,
        subject="Register {{code}}",
        content="<p>{{code}}</p>",
        text_content="{{code}}",
        reply_to="{{user.primaryEmail}}",
        send_from="{{application.name}} <notice@example.com>",
        language_tag="pt-BR",
    )


def test_text_is_another_word_for_text_content() -> None:
    assert first_template(contentType="text/html", text="{{code}}").text_content == "{{code}}"


def test_the_missing_ones_are_named() -> None:
    checked = check(templates=[plain_templates()[0]])
    assert errors(checked) == [("templates", "MISSING_TEMPLATE")]
    assert "SignIn, ForgotPassword, Generic" in the_finding(checked, "templates").message


@pytest.mark.parametrize("key", ["usageType", "contentType", "subject", "content"])
@pytest.mark.parametrize("absent", [..., None])
def test_each_needs_its_four_keys(key: str, absent: Any) -> None:
    assert (f"templates[0].{key}", "MISSING_FIELD") in errors(check(templates=with_first(**{key: absent})))


def test_empty_text_is_a_text() -> None:
    checked = check(templates=with_first(subject="", content=""))
    assert ("WARNING", "templates[0].subject", "EMPTY_TEXT") in said(checked)
    assert checked.connector is not None


def test_the_first_of_two_for_the_same_serves() -> None:
    again = {**plain_templates()[1], "subject": "again {{code}}"}
    checked = check(templates=[*plain_templates(), again])
    assert said(checked) == [("WARNING", "templates[4].usageType", "DUPLICATE_TEMPLATE")]
    other_language = {**again, "languageTag": "de"}
    assert check(templates=[*plain_templates(), other_language]).findings == ()


def test_one_without_a_language_is_missed() -> None:
    assert said(check(templates=with_first(languageTag="de"))) == [("WARNING", "templates", "NO_DEFAULT_LANGUAGE")]


def reasons_for(usage_type: str, content: str) -> list[str]:
    template = {"usageType": usage_type, "contentType": "text/plain", "subject": "s", "content": content}
    return [reason for _, field, reason in said(check(templates=[template, *plain_templates()])) if "[0]" in field]


@pytest.mark.parametrize(
    ("usage_type", "content"),
    [("SignIn", "no placeholder"), ("SignIn", "{{link}}"), ("OrganizationInvitation", "{{code}}")],
)
def test_one_that_does_not_show_what_it_is_for_is_said(usage_type: str, content: str) -> None:
    assert reasons_for(usage_type, content) == ["MISSING_PLACEHOLDER"]


@pytest.mark.parametrize(
    ("usage_type", "content"),
    [("SignIn", "{{ code }}"), ("OrganizationInvitation", "{{link}}"), ("Whatever", "no placeholder")],
)
def test_one_that_shows_what_it_is_for_is_good(usage_type: str, content: str) -> None:
    assert reasons_for(usage_type, content) == []


def test_each_of_two_bodies_shows_what_it_is_for() -> None:
    checked = check(templates=with_first(subject="s", contentType="text/html", textContent="nothing"))
    assert said(checked) == [("WARNING", "templates[0].textContent", "MISSING_PLACEHOLDER")]


def test_a_usage_type_that_is_nearly_known_is_said() -> None:
    finding = the_finding(
        check(templates=[*plain_templates(), {**plain_templates()[0], "usageType": "signIn"}]),
        ("templates[4].usageType"),
    )
    assert finding.reason == "UNKNOWN_USAGE_TYPE"
    assert "SignIn" in finding.hint


def test_html_that_is_sent_as_text_is_said() -> None:
    checked = check(templates=with_first(content="<!DOCTYPE html><p>{{code}}</p>"))
    assert said(checked) == [("WARNING", "templates[0].contentType", "HTML_AS_TEXT")]


def test_a_text_beside_a_text_has_no_effect() -> None:
    checked = check(templates=with_first(textContent="{{code}}"))
    assert said(checked) == [("WARNING", "templates[0].textContent", "NO_EFFECT")]
    assert checked.connector is not None
    assert checked.connector.templates[0].text_content is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"subject": "a\r\nBcc: x@y.z"}, "subject"),
        ({"subject": "x" * 256}, "subject"),
        ({"content": "ä" * (128 * 1024 + 1)}, "content"),
        ({"sendFrom": "nobody"}, "sendFrom"),
        ({"replyTo": "a@b.example, c@d.example"}, "replyTo"),
        ({"languageTag": "not a tag"}, "languageTag"),
    ],
)
def test_what_no_payload_could_mend_is_an_error(changes: dict[str, Any], key: str) -> None:
    assert errors(check(templates=with_first(**changes))) == [(f"templates[0].{key}", "INVALID_TEMPLATE")]


def test_they_are_bounded() -> None:
    assert errors(check(templates=plain_templates() * 26)) == [("templates", "TOO_LARGE")]
    assert errors(check(templates=with_first(content="x" * (256 * 1024 + 1)))) == [
        ("templates[0].content", "TOO_LARGE")
    ]
    assert errors(check(templates=with_first(usageType="x" * 65)))[0] == ("templates[0].usageType", "TOO_LARGE")


@pytest.mark.parametrize("tail", ["{{", "{{" + "a" * 200_000, "{{ " * 60_000, " " * 200_000 + "<"])
def test_content_that_is_made_to_be_slow_is_not(tail: str) -> None:
    assert check(templates=with_first(content="{{code}}" + tail)).connector is not None


class TestOfACaller:
    def test_is_read_with_the_contracts_names(self) -> None:
        template, findings = read_template(
            {"usage_type": "SignIn", "subject": "s", "content": "<p>{{code}}</p>", "text_content": "{{code}}"}
        )
        assert findings == ()
        assert template is not None
        assert template.content_type is ContentType.HTML
        assert template.escape

    def test_is_refused_with_the_contracts_paths(self) -> None:
        template, findings = read_template({"usage_type": "SignIn", "content_type": "text_plain", "send_from": "x"})
        assert template is None
        assert [(finding.field, finding.reason) for finding in findings if finding.severity.name == "ERROR"] == [
            ("subject", "MISSING_FIELD"),
            ("content", "MISSING_FIELD"),
            ("send_from", "INVALID_TEMPLATE"),
        ]

    @pytest.mark.parametrize("content_type", [7, "text_markdown"])
    def test_with_a_content_type_that_nobody_knows_is_refused(self, content_type: Any) -> None:
        template, findings = read_template(
            {"usage_type": "SignIn", "subject": "s", "content": "{{code}}", ("content_type"): content_type}
        )
        assert template is None
        assert [finding.field for finding in findings] == ["content_type"]


def test_the_base_document_is_good() -> None:
    assert document()["templates"] == plain_templates()
