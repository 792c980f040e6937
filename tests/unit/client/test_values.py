"""Values of a request: carried exactly, or refused by their path and never by what they are."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector import InvalidRequest, Outcome, Template, UsageType
from smtpconnector._struct import struct_from

if TYPE_CHECKING:
    from harness.fake_connector import Script

    from .conftest import Caller

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(_text, _json, max_size=4))
def test_any_json_arrives_as_it_was(payload: dict[str, Any]) -> None:
    assert MessageToDict(struct_from(payload, "payload")) == payload


@pytest.mark.parametrize(
    ("payload", "field", "told"),
    [
        ({"a": {"b": [1, math.nan]}}, "payload.a.b[1]", "not a finite number"),
        ({"a": -math.inf}, "payload.a", "not a finite number"),
        ({"id": 2**53 + 1}, "payload.id", "beyond 2\\*\\*53"),
        ({"id": -(2**53) - 1}, "payload.id", "beyond 2\\*\\*53"),
        ({"on": dt.date(2026, 1, 2)}, "payload.on", "is a date"),
        ({"price": decimal.Decimal("1.5")}, "payload.price", "is a Decimal"),
        ({"secret": b"hunter2"}, "payload.secret", "is a bytes"),
        ({"tags": {"a", "b"}}, "payload.tags", "is a set"),
        ({"a": {7: "hunter2"}}, "payload.a", "key that is a int"),
        ({"half": "hunter2 \ud800"}, "payload.half", "surrogate"),
        ({"\udfff": 1}, "payload", "surrogate"),
        (["hunter2"], "payload", "is a list"),
    ],
)
async def test_what_json_cannot_hold_is_refused_by_its_path(
    caller: Caller, script: Script, payload: Any, field: str, told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told) as raised:
        await caller.send_message("ada@example.com", "Test", payload)
    assert [violation.field for violation in raised.value.violations] == [field]
    assert raised.value.outcome is Outcome.NOT_SENT
    assert raised.value.reason == "INVALID_REQUEST"
    assert "hunter2" not in str(raised.value)
    assert not script.requests


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: dict[str, Any] = {}
    ring["again"] = [ring]
    with pytest.raises(InvalidRequest, match="nested deeper"):
        struct_from(ring, "payload")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"to": None}, "to"),
        ({"to": "a@example.com\ud800"}, "to"),
        ({"type": 3}, "type"),
        ({"client_ip": b"192.0.2.1"}, "client_ip"),
        ({"config": 3}, "config.document"),
        ({"config": {"port": 587j}}, "config.document.port"),
        ({"template": Template("s", None)}, "template.content"),  # type: ignore[arg-type]  # the mistake
        ({"template": Template("s", "c", content_type="html")}, "template.content_type"),  # type: ignore[arg-type]  # the same
    ],
)
async def test_a_field_of_the_wrong_kind_is_refused_by_its_name(
    caller: Caller, script: Script, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await caller.send_message(**{"to": "ada@example.com", "type": "Test", **options})
    assert [violation.field for violation in raised.value.violations] == [field]
    assert not script.requests


def test_a_usage_type_prints_as_itself() -> None:
    assert f"{UsageType.SIGN_IN} {UsageType.SIGN_IN!s} {UsageType('Register').value}" == "SignIn SignIn Register"
