from __future__ import annotations

import math
from typing import Any

import pytest

from smtpconnector_server.message.payload import MAX_OCTETS, check_payload, text_at, to_text


def nested(levels: int) -> dict[str, Any]:
    """Return a payload that is nested this deep."""
    value: Any = "x"
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (7.0, "7"),
        ([7.0, 8.0], "7,8"),
        ([1, None, "a", [2, [3, None]], {"k": 1}, True], "1,,a,2,3,,[object Object],true"),
        ([], ""),
        ({}, "[object Object]"),
        ("", ""),
        (None, "null"),
    ],
)
def test_a_value_prints_as_javascript_prints_it(value: Any, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a", "x,y"),
        ("a.0", "x"),
        ("a.1", "y"),
        ("a.2", ""),
        ("a.01", ""),
        ("a.-1", ""),
        ("a." + "9" * 5000, ""),
        ("a.length", "2"),
        ("s.length", ""),
        ("s.0", ""),
        ("s.upper", ""),
        ("n", ""),
        ("n.deeper", ""),
        ("o.length", "own"),
        ("o.", "empty"),
        ("o.keys", ""),
        ("a.append", ""),
        ("", "root"),
        ("missing", None),
        ("__class__", None),
        ("keys", None),
    ],
)
def test_a_path_finds_own_keys_and_elements_only(path: str, text: str | None) -> None:
    payload = {"a": ["x", "y"], "s": "text", "n": None, "o": {"length": "own", "": "empty"}, "": "root"}

    assert text_at(payload, tuple(path.split("."))) == text


def test_a_good_payload_has_no_violation() -> None:
    payload = {"code": "123456", "n": 1.5, "ok": True, "none": None, "user": {"name": "Zoë", "tags": ["a", 1]}}

    assert check_payload(payload) == ()


def test_sixteen_levels_pass_and_seventeen_are_refused() -> None:
    assert check_payload(nested(16)) == ()
    assert [violation.field for violation in check_payload(nested(17))] == ["payload"]


def test_a_payload_too_deep_for_recursion_is_refused() -> None:
    assert "deeper than 16" in check_payload(nested(100_000))[0].description


def test_64_kib_pass_and_one_octet_more_is_refused() -> None:
    overhead = len('{"a":""}')

    assert check_payload({"a": "x" * (MAX_OCTETS - overhead)}) == ()
    assert [violation.field for violation in check_payload({"a": "x" * (MAX_OCTETS - overhead + 1)})] == ["payload"]
    assert check_payload({"a": "é" * (MAX_OCTETS // 2)})
    assert check_payload({"a": [0.0] * MAX_OCTETS})
    assert check_payload({"k" * MAX_OCTETS: ""})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, pytest.param(10**5000, id="huge")])
def test_a_number_that_is_not_finite_is_refused_at_its_path(number: float) -> None:
    violations = check_payload({"user": {"ages": [1, number]}})

    assert [violation.field for violation in violations] == ["payload.user.ages.1"]


def test_half_a_surrogate_pair_is_refused_at_its_path() -> None:
    violations = check_payload({"user": {"name": "a\ud800"}, "\udfff": 1})

    assert [violation.field for violation in violations] == ["payload", "payload.user.name"]


def test_a_path_shows_no_key_that_is_more_than_a_word() -> None:
    violations = check_payload({"a\r\nb": math.nan, "x" * 65: math.nan})

    assert [violation.field for violation in violations] == ["payload.?", "payload.?"]


def test_all_faults_are_told_at_once_in_the_order_of_the_payload() -> None:
    violations = check_payload({"a": math.inf, "b": {"c": "\ud800", "d": math.nan}})

    assert [violation.field for violation in violations] == ["payload.a", "payload.b.c", "payload.b.d"]
