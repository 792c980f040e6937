"""The contract as a release had it, from its descriptors alone: nothing of today's stubs is in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE = "smtpconnector.v1"
SERVICE = f"{PACKAGE}.ConnectorService"
KEPT = Path(__file__).parent.parent / "compatibility"
RELEASES = sorted(path.name for path in KEPT.glob("v*"))


def kept_descriptors(release: str) -> FileDescriptorSet:
    """Return what a release's protos compiled to, imports included."""
    return FileDescriptorSet.FromString((KEPT / release / "descriptors.binpb").read_bytes())


def pool_of(descriptors: FileDescriptorSet) -> DescriptorPool:
    """Return a pool that holds these descriptors and no others."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    return pool


class OldContract:
    """What a caller has who was built with a release: its messages and its methods."""

    def __init__(self, release: str) -> None:
        self._pool = pool_of(kept_descriptors(release))

    def enum(self, name: str) -> dict[str, int]:
        """Return the numbers of an enum's names."""
        values = self._pool.FindEnumTypeByName(f"{PACKAGE}.{name}").values_by_name
        return {name: value.number for name, value in values.items()}

    async def call(self, channel: Any, name: str, request: dict[str, Any]) -> Any:
        """Call a method by its path with a request in JSON's form; return the answer as the release reads it."""
        method = self._pool.FindServiceByName(SERVICE).methods_by_name[name]
        asked = json_format.ParseDict(request, message_factory.GetMessageClass(method.input_type)())
        octets = await channel.unary_unary(f"/{SERVICE}/{name}")(asked.SerializeToString(), timeout=10)
        return message_factory.GetMessageClass(method.output_type).FromString(octets)


def facts(pool: DescriptorPool, files: list[str]) -> set[tuple[Any, ...]]:
    """Return all that callers' code or octets rely on, each fact by itself, so that two contracts can be subtracted."""
    return {fact for name in files for fact in _facts_of_file(pool.FindFileByName(name))}


def _facts_of_file(file: FileDescriptor) -> Iterator[tuple[Any, ...]]:
    options = file.GetOptions()
    for option, value in options.ListFields():
        yield ("file", file.name, option.name, value)
    for message in file.message_types_by_name.values():
        yield from _facts_of_message(message)
    for enum in file.enum_types_by_name.values():
        yield from _facts_of_enum(enum)
    for service in file.services_by_name.values():
        for method in service.methods:
            streams = (method.client_streaming, method.server_streaming)
            idempotency = method.GetOptions().idempotency_level
            types = (method.input_type.full_name, method.output_type.full_name)
            yield ("method", method.full_name, *types, *streams, idempotency)


def _facts_of_message(message: Descriptor) -> Iterator[tuple[Any, ...]]:
    yield ("message", message.full_name, message.file.name)
    for field in message.fields:
        yield _fact_of_field(field)
    for nested in message.nested_types:
        yield from _facts_of_message(nested)
    for enum in message.enum_types:
        yield from _facts_of_enum(enum)


def _fact_of_field(field: FieldDescriptor) -> tuple[Any, ...]:
    kind = field.message_type or field.enum_type
    return (
        "field",
        field.full_name,
        field.number,
        field.json_name,
        field.type,
        kind and kind.full_name,
        field.is_repeated,
        field.has_presence,
        field.containing_oneof and field.containing_oneof.name,
        field.GetOptions().debug_redact,  # what was a secret in callers' logs stays one
    )


def _facts_of_enum(enum: EnumDescriptor) -> Iterator[tuple[Any, ...]]:
    for value in enum.values:
        yield ("value", enum.full_name, enum.file.name, value.name, value.number)
