"""Numbers as JavaScript prints them, because templates written for Logto were rendered by JavaScript.

The digits are the shortest that read back as the same double, which is what Python's ``repr`` gives too; only the
notation differs (ECMA-262, Number::toString).
"""

from __future__ import annotations

import math
from typing import Final

_SAFE_INTEGER: Final = 2.0**53
"""Below it every integral double prints as the integer that it is."""
_MOST_WHOLE_DIGITS: Final = 21
_MOST_LEADING_ZEROS: Final = 6


def format_number(number: float) -> str:
    """Return what JavaScript's ``String(number)`` gives: ``1``, ``1.5``, ``1e+21``, ``0`` for -0.

    An int that is no double is rounded to the nearest one, as JavaScript's JSON parser does.
    """
    try:
        double = float(number)
    except OverflowError:
        double = math.inf if number > 0 else -math.inf
    if math.isnan(double):
        return "NaN"
    if math.isinf(double):
        return "Infinity" if double > 0 else "-Infinity"
    if abs(double) < _SAFE_INTEGER and double.is_integer():
        return str(int(double))
    sign = "-" if double < 0 else ""
    return sign + _positional_or_exponential(*_shortest_digits(abs(double)))


def _shortest_digits(double: float) -> tuple[str, int]:
    """Return digits without zeros at either end, and the point's place: the value is ``0.digits * 10**point``."""
    mantissa, _, exponent = repr(double).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading_zeros = len(whole) + len(fraction) - len(digits)
    return digits.rstrip("0"), len(whole) - leading_zeros + int(exponent or 0)


def _positional_or_exponential(digits: str, point: int) -> str:
    if len(digits) <= point <= _MOST_WHOLE_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= _MOST_WHOLE_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -_MOST_LEADING_ZEROS < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1:+d}"
