"""Messages of the contract as plain Python values, so that no other room has to know protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.message import Message

JsonValue: TypeAlias = "bool | float | str | list[JsonValue] | dict[str, JsonValue] | None"

_NANOSECONDS: Final = 1_000_000_000


def from_struct(struct: Struct) -> dict[str, JsonValue]:
    """Return a Struct as a dict. Its depth is bounded: the parser refuses more than 100 levels."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def to_struct(values: Mapping[str, Any]) -> Struct:
    """Return a JSON object as a Struct."""
    struct = Struct()
    struct.update(values)
    return struct


def to_duration(seconds: float) -> Duration:
    """Return seconds as a Duration."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * _NANOSECONDS))
    return duration


def from_message(message: Message) -> dict[str, Any]:
    """Return the fields that are set, by their names in the contract.

    Enum values are their names in lower case without the enum's prefix (or the bare number where the name is not
    known), durations are seconds.
    """
    plain: dict[str, Any] = {}
    for field, value in message.ListFields():
        convert = _converter(field)
        plain[field.name] = [convert(item) for item in value] if field.is_repeated else convert(value)
    return plain


def _from_value(value: Value) -> JsonValue:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        return value.number_value
    if kind == "bool_value":
        return value.bool_value
    return None


def _converter(field: FieldDescriptor) -> Any:  # noqa: ANN401 - one of several callables over protobuf's untyped values
    if field.enum_type is not None:
        values = field.enum_type.values_by_number
        prefix_length = len(values[0].name) - len("UNSPECIFIED")
        return lambda number: values[number].name[prefix_length:].lower() if number in values else number
    if field.message_type is None:
        return lambda value: value
    if field.message_type.full_name == Duration.DESCRIPTOR.full_name:
        return lambda duration: duration.seconds + duration.nanos / _NANOSECONDS
    if field.message_type.full_name == Struct.DESCRIPTOR.full_name:
        return from_struct
    return from_message
