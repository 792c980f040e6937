from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.placeholder import PlaceholderText
from smtpconnector_server.message.text_rule import BODY_TEXT, HEADER_TEXT, TextRule

if TYPE_CHECKING:
    from smtpconnector_server.failure import Violation

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "handlebars.json").read_text(encoding="utf-8"))["vectors"]
ANYTHING = TextRule(re.compile("(?!)"), "")
MIB = 1024 * 1024


def text(template: str, rule: TextRule = ANYTHING, max_length: int = MIB) -> PlaceholderText:
    return PlaceholderText(template, name="content", rule=rule, max_length=max_length)


def render(template: str, payload: dict[str, Any]) -> str:
    violations: list[Violation] = []
    rendered = text(template).render(payload, violations, "template")
    assert violations == []
    return rendered


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_placeholders_are_filled_as_logto_fills_them(vector: dict[str, Any]) -> None:
    assert render(vector["template"], vector["payload"]) == vector.get("ours", vector["expected"])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{missing.x}}", "{{missing.x}}"),
        ("{{  missing  }}", "{{  missing  }}"),
        ("{{.code}}", "{{.code}}"),
        ("{{code.}}", ""),
        ("{{{code}}}", "{123}"),
        ("{{{{code}}}}", "{{123}}"),
        ("{{arr}}", "7,8"),
        ("{{arr.0}}", "7"),
        ("{{t}} {{n}} {{big}}", "true 1 1e+21"),
        ("{{s.length}}", ""),
        ("{{code}}{{code}}", "123123"),
        ("{{\u200bcode}}", "{{\u200bcode}}"),
        ("{{\x85code}}", "{{\x85code}}"),
        ("{{\ufeff\u3000code\u2029}}", "123"),
        ("{{co de}}", "{{co de}}"),
    ],
)
def test_a_placeholder_is_what_javascripts_pattern_takes_for_one(template: str, expected: str) -> None:
    payload = {"code": "123", "arr": [7.0, 8.0], "t": True, "n": 1.0, "big": 1e21, "s": "text"}

    assert render(template, payload) == expected


def test_values_are_never_read_as_placeholders() -> None:
    assert render("{{a}}", {"a": "{{b}}", "b": "{{a}}"}) == "{{b}}"
    assert render("{{a}}{{b}}", {"a": "{{b", "b": "}}"}) == "{{b}}"


@pytest.mark.parametrize(
    "path",
    ["__class__", "payload.__class__", "a.__class__.__mro__", "a.keys", "constructor", "__proto__", "toString"],
)
def test_attributes_are_out_of_reach(path: str) -> None:
    rendered = render(f"{{{{{path}}}}}", {"a": {"b": 1}})

    assert rendered in ("", f"{{{{{path}}}}}")


def test_paths_are_told_once_each() -> None:
    assert text("{{b}} {{ a.c }} {{b }}").paths == ("b", "a.c")


def test_an_expansion_bomb_is_refused_before_it_is_built() -> None:
    bomb = text("{{a}}" * 50_000)
    payload = {"a": "x" * 60_000}
    violations: list[Violation] = []
    tracemalloc.start()
    try:
        assert bomb.render(payload, violations, "template") == ""
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert [violation.field for violation in violations] == ["template.content"]


@pytest.mark.parametrize(("value", "fits"), [("x" * 9, True), ("x" * 10, True), ("x" * 11, False)])
def test_the_length_of_the_rendered_text_is_bounded_to_the_character(value: str, fits: bool) -> None:
    violations: list[Violation] = []
    rendered = text("{{a}}", max_length=10).render({"a": value}, violations, "template")

    assert (rendered == value) is fits
    assert bool(violations) is not fits


def test_placeholders_that_stay_as_written_count() -> None:
    violations: list[Violation] = []
    text("{{aaaa}}", max_length=7).render({}, violations, "template")

    assert violations


def test_a_pattern_with_many_blanks_is_read_in_linear_steps() -> None:
    # Were any character read twice for each one before it, these would take hours.
    for hostile in ("{{" + " " * MIB, "{{ " * 300_000, "{{" + "a" * MIB, "{" * MIB, "{{a " * 250_000):
        assert render(hostile, {"a": "1"}) == hostile


@pytest.mark.parametrize("rule", [HEADER_TEXT, BODY_TEXT])
def test_a_value_that_breaks_the_rule_is_refused_at_its_path(rule: TextRule) -> None:
    violations: list[Violation] = []
    text("{{ok}} {{user.name}} {{list.0}}", rule).render(
        {"ok": "fine", "user": {"name": "a\x00b"}, "list": ["\ud800"]}, violations, "template"
    )

    assert [violation.field for violation in violations] == ["payload.user.name", "payload.list.0"]
    assert all("a\x00b" not in violation.description for violation in violations)


# The field's own pattern, written down independently: blanks of JavaScript, then word characters and dots.
BLANKS = "\t\n\v\f\r \u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.text("{}ab. \n\x1c\u200b", max_size=6),
            st.tuples(
                st.text(BLANKS, max_size=2), st.sampled_from(["a", "b", "c", "a.b"]), st.text(BLANKS, max_size=2)
            ),
        ),
        max_size=8,
    ),
    st.text(max_size=8),
)
def test_literals_stay_and_placeholders_give_their_values(pieces: list[str | tuple[str, str, str]], value: str) -> None:
    payload = {"a": value, "b": [value, None], "a.b": "never"}
    values = {"a": value, "b": f"{value},", "a.b": ""}
    template = expected = ""
    for piece in pieces:
        if isinstance(piece, str):
            literal = piece.replace("{", "").replace("}", "")
            template += literal
            expected += literal
        else:
            before, path, after = piece
            written = f"{{{{{before}{path}{after}}}}}"
            template += written
            expected += values.get(path, written)

    assert render(template, payload) == expected
