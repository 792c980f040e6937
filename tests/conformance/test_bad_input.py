"""Bad input of every kind over the wire: the right code, reason and field; the service lives; no octet reaches SMTP."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import struct_pb2

from harness.documents import document_for
from harness.service import CallError
from smtpconnector.v1 import config_pb2, connector_service_pb2, validation_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.inbox import Inbox
    from harness.service import Service

CONTROLS = [chr(code) for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029)]
CODE = {"code": "123456"}


@pytest.fixture(autouse=True)
async def service_lives_and_sent_nothing(service: Service, inbox: Inbox) -> AsyncIterator[None]:
    yield
    assert not inbox.mails
    await service.send(to="good@example.com", type="SignIn", payload=CODE)
    assert len(inbox.mails) == 1


async def refused(service: Service, **fields: Any) -> CallError:
    error = await service.send_refused(**{"to": "a@example.com", "type": "SignIn", "payload": CODE, **fields})
    assert error.metadata["outcome"] == "NOT_SENT"
    return error


async def assert_violates(service: Service, field: str, **fields: Any) -> None:
    error = await refused(service, **fields)
    assert (error.code, error.reason, error.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        [field],
    ), error.text


async def test_control_characters_in_the_recipient(service: Service) -> None:
    for control in CONTROLS:
        await assert_violates(service, "to", to=f"a{control}b@example.com")
        await assert_violates(service, "to", to=f"a@example.com{control}")


async def test_control_characters_in_a_value_of_the_subject(service: Service) -> None:
    template = config_pb2.Template(subject="Hello {{user.name}}", content="c")
    for control in CONTROLS:
        payload = {"user": {"name": f"x{control}Bcc: victim@example.com"}}
        await assert_violates(service, "payload.user.name", payload=payload, template=template)


@pytest.mark.parametrize("field", ["subject", "send_from", "reply_to"])
async def test_control_characters_in_a_template_of_the_callers(field: str, service: Service) -> None:
    texts = {"subject": "s{}", "send_from": "N{} <a@example.com>", "reply_to": "r@example.com{}"}
    for control in CONTROLS:
        fields = {"subject": "s", "content": "c", field: texts[field].format(control)}
        await assert_violates(service, f"template.{field}", template=config_pb2.Template(**fields))


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("fromEmail", "N{} <a@example.com>", "config.document.fromEmail"),
        ("replyTo", "a@example.com{}", "config.document.replyTo"),
        ("host", "smtp{}.example.com", "config.document.host"),
        ("name", "me{}.example.com", "config.document.name"),
    ],
)
async def test_control_characters_in_a_configuration(
    key: str, value: str, field: str, service: Service, inbox: Inbox
) -> None:
    for control in CONTROLS:
        document = document_for(inbox, **{key: value.format(control)})
        error = await refused(service, config={"document": document})
        assert (error.code, error.reason, error.fields) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_CONFIG",
            [field],
        ), repr(control)


@pytest.mark.parametrize(
    "name", ["X-A\r\nBcc", "X A", "X:A", "Bcc ", "", "X-Ä", "bcc", "To", "Content-Type", "DKIM-Signature", "Resent-To"]
)
async def test_header_names_that_would_change_the_mail(name: str, service: Service, inbox: Inbox) -> None:
    document = document_for(inbox, customHeaders={name: "v"})
    error = await refused(service, config={"document": document})
    assert (error.reason, len(error.fields)) == ("INVALID_CONFIG", 1)
    assert error.fields[0].startswith("config.document.customHeaders")


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\0", "\x7f", "\x85", "\u2028"])
async def test_header_values_that_would_add_a_header(control: str, service: Service, inbox: Inbox) -> None:
    document = document_for(inbox, customHeaders={"X-A": f"v{control}Bcc: victim@example.com"})
    error = await refused(service, config={"document": document})
    assert error.fields == ["config.document.customHeaders.X-A"]


@pytest.mark.parametrize(
    "to", ["", "a@example.com, b@example.com", "a@example.com;b@example.com", "N <a@example.com>", "x" * 100_000]
)
async def test_anything_but_one_address_as_recipient(to: str, service: Service) -> None:
    await assert_violates(service, "to", to=to)


@pytest.mark.parametrize("usage_type", ["", "x" * 65, "a\r\nb", "a\0b"])
async def test_a_malformed_type(usage_type: str, service: Service) -> None:
    await assert_violates(service, "type", type=usage_type)


@pytest.mark.parametrize("client_ip", ["localhost", "1.2.3", "1.2.3.4\r\n", "::g"])
async def test_a_malformed_client_ip(client_ip: str, service: Service) -> None:
    await assert_violates(service, "client_ip", client_ip=client_ip)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_numbers_that_are_not_finite(number: float, service: Service) -> None:
    payload = struct_pb2.Struct()
    payload.fields["deep"].struct_value.fields["number"].number_value = number
    await assert_violates(service, "payload.deep.number", payload=payload)


async def test_a_payload_that_is_too_deep(service: Service) -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    error = await refused(service, payload={"deep": deep})
    assert (error.reason, len(error.fields)) == ("INVALID_REQUEST", 1)
    assert error.fields[0].startswith("payload")


async def test_a_payload_deeper_than_protobuf_reads(service: Service) -> None:
    value = b""
    for _ in range(2000):
        values = b"\x0a" + _varint(len(value)) + value  # ListValue.values
        value = b"\x32" + _varint(len(values)) + values  # Value.list_value
    entry = b"\x0a\x01x\x12" + _varint(len(value)) + value
    struct = b"\x0a" + _varint(len(entry)) + entry
    octets = b"\x0a\x0da@example.com\x12\x06SignIn\x1a" + _varint(len(struct)) + struct
    error = await raw_call(service, octets)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_payload_that_is_too_large(service: Service) -> None:
    await assert_violates(service, "payload", payload={"big": "x" * 70_000})


async def test_a_request_that_is_too_large(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.send(to="a@example.com", type="SignIn", payload={"big": "x" * 5_000_000})
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_values_that_would_make_a_mail_too_large(service: Service) -> None:
    template = config_pb2.Template(subject="s", content="{{a}}" * 50_000)
    error = await refused(service, payload={"a": "x" * 60_000}, template=template)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "octets",
    [
        b"\x0a\x03\xff\xfe\xfd",  # `to` is not UTF-8
        b"\x0a\x05\xed\xa0\x80xx",  # a lone surrogate
        b"\x0a\xff",  # truncated
        b"\x0d\x00\x00\x00\x00\x0a\xff\xff\xff\xff\x0f",
        b"\xff" * 50,
    ],
)
async def test_octets_that_are_no_message(octets: bytes, service: Service) -> None:
    error = await raw_call(service, octets)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_an_unknown_profile(service: Service) -> None:
    error = await refused(service, config={"profile": "nobody"})
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "PROFILE_NOT_FOUND")


async def test_a_request_id_which_nobody_could_guarantee_yet(service: Service) -> None:
    error = await refused(service, request_id="2ec4d5a6-9a3b-4c2e-9e0e-0d2f4a7a3b11")
    assert (error.code, error.reason, error.fields) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "NOT_IMPLEMENTED",
        ["request_id"],
    )


async def test_everything_wrong_is_told_at_once(service: Service) -> None:
    error = await refused(service, to="x", type="", client_ip="y", payload={"n": "ok"}, template={"subject": "\n"})
    assert {"to", "type", "client_ip", "template.subject"} <= set(error.fields)


async def test_an_invalid_configuration_names_every_field(service: Service, inbox: Inbox) -> None:
    document = document_for(inbox, host="", port=70000, fromEmail="x")
    error = await refused(service, config={"document": document})
    assert error.reason == "INVALID_CONFIG"
    assert set(error.fields) == {"config.document.host", "config.document.port", "config.document.fromEmail"}


async def test_the_typed_form_is_named_in_its_own_words(service: Service) -> None:
    error = await refused(service, config={"smtp": {"host": "mail.example.com", "from_email": "x"}})
    assert error.reason == "INVALID_CONFIG"
    assert {"config.smtp.from_email", "config.smtp.templates"} <= set(error.fields)


async def test_a_caller_cannot_switch_escaping_off(service: Service, inbox: Inbox) -> None:
    document = document_for(inbox)
    document["templates"][0]["escape"] = False
    error = await refused(service, config={"document": document})
    assert error.fields == ["config.document.templates[0].escape"]


@pytest.mark.parametrize("depth", [99, -1])
async def test_an_unknown_depth(depth: int, service: Service) -> None:
    request = connector_service_pb2.ValidateConfigRequest()
    request.MergeFromString(b"\x10" + _varint(depth & (2**64 - 1)))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.ValidateConfig(request, timeout=10)
    assert CallError(raised.value).fields == ["depth"]
    assert depth not in validation_pb2.Depth.values()


async def raw_call(service: Service, octets: bytes) -> CallError:
    call = service.channel.unary_unary("/smtpconnector.v1.ConnectorService/SendMessage")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(octets, timeout=10)
    return CallError(raised.value)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
