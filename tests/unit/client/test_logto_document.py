"""Reading the JSON document of Logto's connector, strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector import InvalidRequest, config_from_logto

DOCUMENT = {
    "host": "smtp.example.com",
    "port": 587,
    "auth": {"user": "mailer", "pass": "hunter2"},
    "templates": [{"usageType": "Generic", "subject": "a, {b} // c", "content": 'NaN "quoted" # no comment'}],
}


@pytest.mark.parametrize("text", [json.dumps(DOCUMENT), json.dumps(DOCUMENT).encode(), b"\xef\xbb\xbf{}"])
def test_a_document_is_carried_as_it_is(text: str | bytes) -> None:
    carried = MessageToDict(config_from_logto(text).document)
    assert carried in (DOCUMENT, {})


_text = st.text(st.characters(exclude_categories=["Cs"]))
_json = st.recursive(
    _text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3), max_leaves=8
)


@settings(deadline=None, max_examples=100)
@given(value=_json, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_any_text_in_a_document_is_only_text(*, value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps({"value": value}, indent=indent, ensure_ascii=ascii_only)
    assert MessageToDict(config_from_logto(text).document) == {"value": value}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"host": "a",\n "host": "b"}', '"host" occurs twice in one object at line 2, column 2'),
        ('{"a": [{"b": 1}, {"b": 2, "b": 3}]}', '"b" occurs twice in one object at line 1, column 27'),
        ('{"a": {"b": 1}, "c": [],\n "a": 2}', '"a" occurs twice in one object at line 2, column 2'),
        ('{"a": 1, "\\u0061": 2}', "occurs twice in one object at line 1, column 10"),
        ('{"port": NaN}', "NaN is no number at line 1, column 10"),
        ('{"port": [1, -Infinity]}', "-Infinity is no number at line 1, column 14"),
        ('{"port": Infinity}', "Infinity is no number"),
        ('{\n  // the host\n  "host": "a"}', "comments are not allowed at line 2, column 3"),
        ('{"host": "a" /* b */}', "comments are not allowed at line 1, column 14"),
        ('# host\n{"host": "a"}', "comments are not allowed at line 1, column 1"),
        ('{"pass": "hunter2",}', "at line 1, column"),
        ('{"pass": "hunter2"', "at line 1, column 19"),
        ("", "at line 1, column 1"),
        ('["hunter2"]', "must begin with {"),
        (b'{"pass": "hunter2\xff"}', "not UTF-8 at byte 17"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_not_one_json_object_is_refused_where_it_stands(text: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match="document") as raised:
        config_from_logto(text)
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_integer_that_a_double_cannot_hold_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"config\.document\.auth\.expires"):
        config_from_logto('{"auth": {"expires": 9007199254740993}}')
