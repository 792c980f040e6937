"""Whatever comes in, an answer comes out: findings, and a configuration exactly when none of them is an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.configuration import check, document, errors
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.intake import admit
from smtpconnector_server.config.keys import keys
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.shape import TypedShape
from smtpconnector_server.config.typed import read_typed

TEXTS = st.text(max_size=20) | st.sampled_from(["${A}", "<x>", "{{", "smtp.gmail.com", "\x00", "\ud800", "[::1]"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 1e308])
MEMBERS = TEXTS | st.sampled_from(sorted({member for key in keys() for member in (key.name, *key.members)}))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(MEMBERS, values, max_size=3),
    max_leaves=8,
)


def check_answer(checked: Any) -> None:
    assert (checked.connector is None) == any(finding.severity is Severity.ERROR for finding in checked.findings)
    for finding in checked.findings:
        assert finding.message.endswith(".")
        finding.message.encode()
        finding.field.encode()


@given(st.dictionaries(MEMBERS, JSON, max_size=4), st.sampled_from(Origin))
@settings(max_examples=150, deadline=None)
def test_any_document(changes: dict[str, Any], origin: Origin) -> None:
    check_answer(read_document({**document(), **changes}, origin=origin))


@given(st.dictionaries(TEXTS | st.sampled_from(list(TypedShape.model_fields)), JSON, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_typed_configuration(values: dict[str, Any]) -> None:
    check_answer(read_typed(values))


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_no_document_at_all(value: Any) -> None:
    check_answer(read_document(value, origin=Origin.CALLER))


def test_the_callers_object_is_left_as_it_was() -> None:
    changes = {"templates": [{"usageType": 5}], "customHeaders": {"X-A": [1]}, "port": 25.5}
    before = repr(changes)
    check(**changes)
    assert repr(changes) == before


def test_integral_doubles_are_integers_and_others_are_not() -> None:
    assert repr(admit({"a": 587.0, "b": [1.0, 1.5], "c": True, "d": -0.0})) == repr(
        {"a": 587, "b": [1, 1.5], "c": True, "d": 0}
    )


@pytest.mark.parametrize("number", [10**400, -(10**400)])
@pytest.mark.parametrize("key", ["port", "connectionTimeout", "maxConnections", "idleTimeout"])
def test_numbers_beyond_all_bounds_are_refused_or_bounded(key: str, number: int) -> None:
    found = [field for field, _ in errors(check(**{key: number}))]
    assert found == ([] if key == "maxConnections" and number > 0 else [key])


def test_an_editors_schema_key_is_no_unknown_key() -> None:
    assert check(**{"$schema": "https://example.com/schema.json"}).findings == ()
