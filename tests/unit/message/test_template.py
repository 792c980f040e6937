from __future__ import annotations

from typing import Any

import pytest

from smtpconnector_server.message.template import ContentType, Template, TemplateError, compile_template


def template(**changes: Any) -> Template:
    fields = {"usage_type": "SignIn", "content_type": ContentType.HTML, "subject": "s", "content": "c", **changes}
    return Template(**fields)


def faults(**changes: Any) -> list[str]:
    with pytest.raises(TemplateError) as raised:
        compile_template(template(**changes))
    return [violation.field for violation in raised.value.violations]


def test_a_good_template_tells_what_it_shows() -> None:
    compiled = compile_template(
        template(
            subject="{{code}}",
            content="{{ application.name }} {{code}}",
            text_content="{{link}}",
            send_from="{{application.name}} <a@b.example>",
            reply_to="{{user.primaryEmail}}",
        )
    )

    assert compiled.paths == ("code", "application.name", "link", "user.primaryEmail")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"subject": "a\r\nBcc: e@e.e"}, "subject"),
        ({"subject": "a\u202eb"}, "subject"),
        ({"subject": "{{\ncode}}"}, "subject"),
        ({"subject": "x" * 256}, "subject"),
        ({"content": "a\x00b"}, "content"),
        ({"content": "a\x1bb"}, "content"),
        ({"content": "a\ud800"}, "content"),
        ({"content": "x" * (256 * 1024 + 1)}, "content"),
        ({"content": "\u00e9" * (128 * 1024 + 1)}, "content"),
        ({"text_content": "a\x0bb"}, "text_content"),
        ({"text_content": "x", "content_type": ContentType.PLAIN}, "text_content"),
        ({"send_from": "a@b.example, c@d.example"}, "send_from"),
        ({"send_from": "{{name}}"}, None),
        ({"send_from": "{{name}} <a@localhost>"}, "send_from"),
        ({"send_from": "a\r\nb <a@b.example>"}, "send_from"),
        ({"send_from": "p <a@p\u0430ypal.com>"}, "send_from"),
        ({"reply_to": "{{name}} <{{address}}>, x@y.example"}, "reply_to"),
        ({"language_tag": "de_AT"}, "language_tag"),
        ({"language_tag": ""}, "language_tag"),
    ],
)
def test_a_fault_of_the_template_itself_is_told_when_it_is_compiled(changes: dict[str, Any], field: str | None) -> None:
    if field is None:
        compile_template(template(**changes))
    else:
        assert faults(**changes) == [field]


def test_all_faults_are_told_at_once() -> None:
    assert faults(subject="\n", content="\x00", send_from="x", language_tag="?") == [
        "language_tag",
        "subject",
        "content",
        "send_from",
    ]


@pytest.mark.parametrize("size", [256 * 1024 - 1, 256 * 1024])
def test_a_template_of_256_kib_is_compiled(size: int) -> None:
    compile_template(template(content="x" * size))


def test_a_subject_of_255_characters_is_compiled() -> None:
    compile_template(template(subject="x" * 255 + "{{" + " " * 300 + "code}}"))


def test_a_faulty_template_does_not_show_its_text() -> None:
    with pytest.raises(TemplateError) as raised:
        compile_template(template(subject="secret\n", content="secret\x00", send_from="secret"))

    assert "secret" not in str(raised.value)
