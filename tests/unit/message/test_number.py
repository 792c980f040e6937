"""Numbers print as JavaScript prints them. Expected texts were recorded by running Node.js."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.number import format_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (587.0, "587"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (0.000001, "0.000001"),
        (0.0000001, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (0.00001234, "0.00001234"),
        (123456789.125, "123456789.125"),
        (9007199254740992.0, "9007199254740992"),
        (9007199254740993, "9007199254740992"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (-1.25e21, "-1.25e+21"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
        pytest.param(10**400, "Infinity", id="huge"),
        pytest.param(-(10**400), "-Infinity", id="minus huge"),
    ],
)
def test_a_number_prints_as_javascript_prints_it(number: float, text: str) -> None:
    assert format_number(number) == text


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_printed_number_reads_back_as_the_same_double(number: float) -> None:
    assert float(format_number(number)) == number
