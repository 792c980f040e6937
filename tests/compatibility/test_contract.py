"""Today's contract holds all that every release's contract held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf import descriptor_pool

from harness.old_contract import RELEASES, facts, kept_descriptors, pool_of
from smtpconnector.v1 import (
    config_pb2,
    connector_service_pb2,
    delivery_pb2,
    delivery_service_pb2,
    error_reason_pb2,
    metadata_pb2,
    validation_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

STUBS = (
    config_pb2,
    connector_service_pb2,
    delivery_pb2,
    delivery_service_pb2,
    error_reason_pb2,
    metadata_pb2,
    validation_pb2,
)
NEWEST = RELEASES[-1]


def own_files(descriptors: FileDescriptorSet) -> list[str]:
    return [file.name for file in descriptors.file if file.name.startswith("smtpconnector/")]


@pytest.mark.parametrize("release", RELEASES)
def test_nothing_that_a_release_had_is_gone_or_changed(release: str) -> None:
    kept = kept_descriptors(release)
    old = facts(pool_of(kept), own_files(kept))
    new = facts(descriptor_pool.Default(), [stub.DESCRIPTOR.name for stub in STUBS])
    assert len(old) > 200
    assert old - new == set()


def _file(descriptors: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in descriptors.file if file.name.endswith(name))


def _without_field(descriptors: FileDescriptorSet) -> None:
    message = next(m for m in _file(descriptors, "connector_service.proto").message_type if m.name == "SmtpReply")
    del message.field[-1]


def _renumbered(descriptors: FileDescriptorSet) -> None:
    _file(descriptors, "validation.proto").message_type[0].field[0].number = 99


def _renamed(descriptors: FileDescriptorSet) -> None:
    _file(descriptors, "validation.proto").message_type[0].field[1].name = "other"


def _retyped(descriptors: FileDescriptorSet) -> None:
    field = next(
        field
        for message in _file(descriptors, "connector_service.proto").message_type
        for field in message.field
        if field.type == field.TYPE_UINT32
    )
    field.type = field.TYPE_INT64


def _without_value(descriptors: FileDescriptorSet) -> None:
    del _file(descriptors, "error_reason.proto").enum_type[0].value[-1]


def _without_method(descriptors: FileDescriptorSet) -> None:
    del _file(descriptors, "connector_service.proto").service[0].method[0]


def _without_redaction(descriptors: FileDescriptorSet) -> None:
    for message in _file(descriptors, "config.proto").message_type:
        for field in message.field:
            field.options.ClearField("debug_redact")


def _other_package(descriptors: FileDescriptorSet) -> None:
    _file(descriptors, "config.proto").options.java_package = "other"


@pytest.mark.parametrize(
    "change",
    [
        _without_field,
        _renumbered,
        _renamed,
        _retyped,
        _without_value,
        _without_method,
        _without_redaction,
        _other_package,
    ],
)
def test_a_breaking_change_is_noticed(change: Callable[[FileDescriptorSet], None]) -> None:
    kept = kept_descriptors(NEWEST)
    changed = kept_descriptors(NEWEST)
    change(changed)
    files = own_files(kept)
    assert facts(pool_of(kept), files) - facts(pool_of(changed), files)


def test_an_addition_breaks_nothing() -> None:
    kept = kept_descriptors(NEWEST)
    added = kept_descriptors(NEWEST)
    _file(added, "validation.proto").message_type[0].field.add(name="later", number=99, type=9, label=1)
    _file(added, "error_reason.proto").enum_type[0].value.add(name="ERROR_REASON_LATER", number=999)
    files = own_files(kept)
    assert facts(pool_of(kept), files) - facts(pool_of(added), files) == set()
