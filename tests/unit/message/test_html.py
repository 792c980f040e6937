"""P1: whatever the values, a mail's document has the template's elements and attributes, and no others."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.html_context import encoders
from smtpconnector_server.message.placeholder import PlaceholderText
from smtpconnector_server.message.text_rule import BODY_TEXT

if TYPE_CHECKING:
    from smtpconnector_server.failure import Violation

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'><b>",
    "<a href=https://evil.example>Click</a>",
    "</p></td></table><h1>Your account is locked</h1>",
    "--><b>",
    "--!><b>",
    "<!--",
    "<![CDATA[x]]>",
    "]]>",
    "<?php x ?>",
    "&lt;b&gt;",
    "&#60;b&#62;",
    "&#x3c;b&#x3e;",
    "&",
    "&amp",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    " onmouseover=alert(1) ",
    "\tonmouseover=alert(1)",
    "\nstyle=position:fixed",
    "x style=display:none",
    "x/onmouseover=alert(1)",
    "x>y",
    "=",
    "`",
    "\\",
    '\\"',
    "{{code}}",
    "${alert(1)}",
    "</title><b>",
    "</style><b>",
    "</script><b>",
    "</textarea><b>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<base href=//evil.example>",
    "<form action=//evil.example><input name=password>",
    "<iframe src=//evil.example>",
    "<object data=//evil.example>",
    "<x",
    "<",
    ">",
    '"',
    "'",
    "<<b>",
    "<b/onclick=x>",
    "\u2028<b>",
    "\ufeff<b>",
    "\u00a0onclick=x",
    "",
    " ",
    "\r\n\r\n<b>",
]
URLS_WITH_CODE = [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "java\r\nscript:alert(1)",
    "\u00a0javascript:x",
    "java\u200bscript:x",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "blob:https://x/1",
    "about:blank",
    "x:y",
    ":x",
    "feed:javascript:x",
    "view-source:https://x",
]
SAFE_URLS = [
    "https://example.com/x?code=1&lang=en#top",
    "http://example.com:8080/",
    "HTTPS://EXAMPLE.COM",
    "mailto:a@b.example?subject=x",
    "//example.com/x",
    "/path:with:colons",
    "?a=b:c",
    "#a:b",
    "path/x",
    "http\\:x",
    "",
]


def render(template: str, value: str) -> str | None:
    """Return the rendered text, or None if the value is refused."""
    text = PlaceholderText(template, name="content", rule=BODY_TEXT, max_length=1 << 20, encoders=encoders)
    violations: list[Violation] = []
    rendered = text.render({"v": value, "w": value}, violations, "template")
    assert {violation.field for violation in violations} <= {"payload.v", "payload.w"}
    assert all(value not in violation.description for violation in violations if len(value) > 12)
    return None if violations else rendered


class Shape(HTMLParser):
    """The elements and attributes of a document, without texts and attributes' values."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shape: list[object] = []
        self.values: list[str | None] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, [name for name, _ in attrs]))
        self.values += [value for _, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        self.shape.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.shape.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.shape.append(f"!{decl}")

    def unknown_decl(self, data: str) -> None:
        self.shape.append("unknown declaration")

    def handle_pi(self, data: str) -> None:
        self.shape.append("processing instruction")

    def handle_data(self, data: str) -> None:
        self.text += data


PLACES = [
    "<p>Hello {{v}}!</p>",
    '<p title="{{v}}">x</p>',
    "<p title='{{v}}'>x</p>",
    "<p title={{v}}>x</p>",
    "<p title={{v}} lang=en>x</p>",
    "<p title=a{{v}}b>x</p>",
    "<p title={{v}}{{w}} lang=en>x</p>",
    '<p title = "{{v}}" class=x>x</p>',
    '<a href="https://example.com/?c={{v}}&d={{w}}">x</a>',
    "<a href=https://example.com/?c={{v}}>x</a>",
    '<a href="{{v}}">x</a>',
    "<a href={{v}} class=x>x</a>",
    '<a href="\n {{v}}">x</a>',
    '<img alt="{{v}}" src="{{w}}">',
    "<!-- {{v}} --><p>x</p>",
    '<!--[if mso]><a href="{{v}}">x</a><![endif]--><p>{{w}}</p>',
    '<p style="color: {{v}}">x</p>',
    "<style>p { color: {{v}} }</style><p>x</p>",
    "<script>var a = {{v}}</script><p>x</p>",
    "<STYLE type='text/css'>a > b { color: {{v}} }</STYLE ><p title={{w}}>x</p>",
    '<p onclick="f({{v}})">x</p>',
    "<title>{{v}}</title><textarea>{{w}}</textarea>",
    "<p>1 < 2 {{v}}</p>",
    "<!doctype html><html><body>{{v}}</body></html>",
    '<p data-{{v}}="1">x</p>',
    '<td style="background: url({{v}})" background="{{w}}">x</td>',
]


@pytest.mark.parametrize("template", PLACES)
@pytest.mark.parametrize("value", HOSTILE + URLS_WITH_CODE)
def test_no_value_changes_the_document(template: str, value: str) -> None:
    rendered = render(template, value)
    if rendered is None:
        return
    neutral = render(template, "neutral")
    assert neutral is not None
    if "data-{{v}}" in template:  # the name itself is the value's
        assert len(Shape(rendered).values) == len(Shape(neutral).values)
    else:
        assert Shape(rendered).shape == Shape(neutral).shape


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([place for place in PLACES if "data-" not in place]), st.text(max_size=20))
def test_no_text_at_all_changes_the_document(template: str, value: str) -> None:
    rendered = render(template, value)
    if rendered is not None:
        assert Shape(rendered).shape == Shape(render(template, "neutral") or "").shape


@pytest.mark.parametrize("value", [*HOSTILE[:20], "plain"])
@pytest.mark.parametrize("template", ['<p title="{{v}}">x</p>', "<p title='{{v}}'>x</p>", "<p title={{v}}>x</p>"])
def test_a_reader_sees_the_value_itself(template: str, value: str) -> None:
    assert Shape(render(template, value) or "").values == [value]
    assert Shape(render("<p>{{v}}</p>", value) or "").text == value


@pytest.mark.parametrize("url", URLS_WITH_CODE)
@pytest.mark.parametrize(
    "template",
    [
        '<a href="{{v}}">',
        "<a href='{{v}}'>",
        "<a href={{v}}>",
        '<A HREF = " {{v}}">',
        '<img src="{{v}}">',
        '<form action="{{v}}">',
        '<a\nclass="b"\nhref="{{w}}{{v}}">',
        '<!--[if mso]><v:rect href="{{v}}"><![endif]-->',
        '<table background="{{v}}">',
    ],
)
def test_a_link_that_is_more_than_a_link_is_refused(template: str, url: str) -> None:
    assert render(template, url) is None


@pytest.mark.parametrize("url", SAFE_URLS)
@pytest.mark.parametrize("template", ['<a href="{{v}}">', "<a href='{{v}}'>"])
def test_a_link_to_the_web_or_to_a_mailbox_is_kept(template: str, url: str) -> None:
    assert Shape(render(template, url) or "").values == [url]


def test_a_link_that_the_template_begins_is_only_escaped() -> None:
    assert render('<a href="https://x.example/?c={{v}}">', "a:b&c") == '<a href="https://x.example/?c=a:b&amp;c">'


def test_text_that_is_no_link_may_have_a_scheme() -> None:
    assert render('<p title="{{v}}">{{w}}</p>', "note: x") == '<p title="note: x">note: x</p>'


@pytest.mark.parametrize(
    "value", ["red;display:none", "expression(alert(1))", "url(//evil)", "</style>", "a}b{", "'x'"]
)
@pytest.mark.parametrize(
    "template", ['<p style="color: {{v}}">', "<style>{{v}}</style>", "<script>{{v}}</script>", '<p onclick="{{v}}">']
)
def test_a_value_that_is_code_is_refused_inside_code(template: str, value: str) -> None:
    assert render(template, value) is None


@pytest.mark.parametrize("value", ["#6139f6", "rebeccapurple", "12px", "1.5em", "https://example.com/logo.png?a=b"])
def test_a_colour_a_size_or_an_image_may_stand_in_a_style(value: str) -> None:
    assert render('<p style="a: {{v}}">', value) == f'<p style="a: {value}">'
    assert render("<style>a { b: {{v}} }</style>", value) == f"<style>a {{ b: {value} }}</style>"


def test_an_empty_value_without_quotes_does_not_take_the_next_attribute() -> None:
    assert Shape(render("<a title={{v}} lang=en>", "") or "").shape == [("a", ["title", "lang"])]


def test_an_attribute_whose_name_is_a_value_is_guarded_as_any_could_be() -> None:
    assert render('<a {{w}}="{{v}}">', "javascript:x") is None
    assert render('<a h{{w}}="{{v}}">', "a(b)") is None


@pytest.mark.parametrize(
    "hostile", ["<style></style>" * 15_000, "<a b=c " * 30_000, '<a b="' * 40_000, "<!--" * 60_000, "<" * 250_000]
)
def test_mark_up_is_read_in_linear_steps(hostile: str) -> None:
    assert len(encoders([hostile, ""])) == 1  # were it quadratic, this would take minutes


def render_two(template: str, first: str, second: str) -> str | None:
    violations: list[Violation] = []
    text = PlaceholderText(template, name="content", rule=BODY_TEXT, max_length=10_000, encoders=encoders)
    rendered = text.render({"a": first, "b": second}, violations, "template")
    return None if violations else rendered


@pytest.mark.parametrize(
    "template",
    ['<a href="{{a}}:{{b}}">', "<a href='{{a}}://{{b}}'>", "<a href={{a}}:{{b}}>", '<a href="{{b}}{{a}}:x">'],
)
@pytest.mark.parametrize("scheme", ["javascript", "java\tscript", "data", "vbscript", "file", ""])
def test_no_two_values_make_the_scheme_of_a_link_together(template: str, scheme: str) -> None:
    assert render_two(template, scheme, "x") is None


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS", "mailto"])
def test_a_value_may_be_the_scheme_of_a_link_to_the_web(scheme: str) -> None:
    assert render_two('<a href="{{a}}:{{b}}">', scheme, "x") == f'<a href="{scheme}:x">'
