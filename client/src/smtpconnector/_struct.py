"""From Python's JSON values to ``google.protobuf.Struct``, exactly or not at all.

Invariant: what arrives at the service equals what the caller gave. A value that a Struct cannot hold is refused with
its path, never with the value, which may be personal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TypeAlias

from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from grpc import StatusCode

from smtpconnector.errors import InvalidRequest, Outcome, Violation

JSON: TypeAlias = Mapping[str, "JSON"] | Sequence["JSON"] | str | float | int | bool | None

# A Struct's numbers are doubles: past this, neighbouring integers become one.
_MAX_EXACT_INT = 2**53
# A level of a Struct is three nested messages, and protobuf reads at most 100 of them.
_MAX_DEPTH = 32


def struct_from(values: Mapping[str, JSON], path: str) -> Struct:
    """Make a Struct.

    Args:
        values: A JSON object.
        path: What the object is in the request, such as ``payload``, for the error.

    Raises:
        InvalidRequest: A Struct cannot hold a value.
    """
    return _struct(values, path, 1)


def text_from(value: str, path: str) -> str:
    """Return the text as plain ``str`` that protobuf can carry.

    Raises:
        InvalidRequest: It is not a string, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise refused(path, f"is a {type(value).__name__}, where a str is wanted")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refused(path, "holds half of a surrogate pair, which is no character") from None
    return str.__str__(value)


def refused(path: str, description: str) -> InvalidRequest:
    """Make the error for a value that cannot be put into a request."""
    return InvalidRequest(
        "the request cannot be made",
        reason="INVALID_REQUEST",
        code=StatusCode.INVALID_ARGUMENT,
        outcome=Outcome.NOT_SENT,
        stage="REQUEST",
        violations=(Violation(path, description),),
    )


def _struct(values: Mapping[str, JSON], path: str, depth: int) -> Struct:
    if not isinstance(values, Mapping):
        raise refused(path, f"is a {type(values).__name__}, where a mapping is wanted")
    _check_depth(path, depth)
    struct = Struct()
    for key, value in values.items():
        if not isinstance(key, str):
            raise refused(path, f"has a key that is a {type(key).__name__}; keys are str")
        struct.fields[text_from(key, path)].CopyFrom(_value(value, f"{path}.{key}", depth))
    return struct


def _value(value: JSON, path: str, depth: int) -> Value:
    if value is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, (int, float)):
        return Value(number_value=_number(value, path))
    if isinstance(value, str):
        return Value(string_value=text_from(value, path))
    if isinstance(value, Mapping):
        return Value(struct_value=_struct(value, path, depth + 1))
    # To Python bytes are a sequence of integers; no caller means that.
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Sequence):
        raise refused(path, f"is a {type(value).__name__}, which is no JSON value; pass it as a str")
    return Value(list_value=_list(value, path, depth + 1))


def _list(values: Sequence[JSON], path: str, depth: int) -> ListValue:
    _check_depth(path, depth)
    return ListValue(values=[_value(value, f"{path}[{index}]", depth) for index, value in enumerate(values)])


def _number(value: float, path: str) -> float:
    if isinstance(value, int):
        if abs(value) > _MAX_EXACT_INT:
            raise refused(path, "is an integer beyond 2**53, which a JSON number cannot hold exactly; pass it as a str")
    elif not isfinite(value):
        raise refused(path, "is not a finite number")
    return value


def _check_depth(path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise refused(path, f"is nested deeper than {_MAX_DEPTH} levels")
