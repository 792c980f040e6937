"""What a caller is told, held against what the SMTP server took: over real gRPC, with a server that goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs

from harness.documents import plain_templates
from harness.fake_connector import Relay
from harness.fault import Fault, State, close, reply_with, stall
from harness.service import CallError, Service, running_service
from harness.smtp_server import SmtpServer
from smtpconnector import AsyncClient, DeliveryUncertain
from smtpconnector.v1 import connector_service_pb2

if TYPE_CHECKING:
    from pathlib import Path


def document_for(server: SmtpServer) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "auth": {},
        "fromEmail": "sender@example.com",
        "templates": plain_templates(),
    }


async def send(service: Service, seconds: float = 10.0) -> connector_service_pb2.SendMessageResponse:
    request = connector_service_pb2.SendMessageRequest(to="a@example.com", type="SignIn", payload={"code": "1"})
    return await service.stub.SendMessage(request, timeout=seconds)


async def send_refused(service: Service, seconds: float = 10.0) -> CallError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await send(service, seconds)
    return CallError(raised.value)


async def test_silence_after_the_message_is_told_as_unknown_before_the_deadline(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.ACCEPTED, stall)) as server,
        running_service({"default": document_for(server)}, tmp_path, grace=0.1) as service,
    ):
        error = await send_refused(service, seconds=2.0)
        assert (error.code, error.reason) == (grpc.StatusCode.UNKNOWN, "DELIVERY_UNCERTAIN")
        assert (error.metadata["outcome"], error.metadata["stage"]) == ("UNKNOWN", "MESSAGE")


async def test_silence_before_the_message_is_told_as_not_sent_before_the_deadline(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, stall), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        error = await send_refused(service, seconds=2.0)
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert (error.metadata["outcome"], error.metadata["stage"]) == ("NOT_SENT", "RCPT")
        assert not server.ledger


@pytest.mark.parametrize(("state", "stage"), [(State.GREETING, "GREETING"), (State.EHLO, "EHLO")])
async def test_a_deadline_that_passes_before_the_first_mail_says_where(
    state: State, stage: str, tmp_path: Path
) -> None:
    async with (
        SmtpServer(Fault(state, stall)) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        error = await send_refused(service, seconds=2.0)
        assert (error.reason, error.metadata["stage"]) == ("DEADLINE_EXCEEDED", stage)


async def test_a_late_reply_is_logged(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def late(wire: Any, reply: bytes) -> None:
        await released.wait()
        await wire.send(reply)

    with capture_logs() as logs:
        async with (
            SmtpServer(Fault(State.ACCEPTED, late)) as server,
            running_service({"default": document_for(server)}, tmp_path, grace=5.0) as service,
        ):
            error = await send_refused(service, seconds=1.5)
            assert error.reason == "DELIVERY_UNCERTAIN"
            released.set()
    late_replies = [entry for entry in logs if entry["event"] == "late_reply"]
    assert [(entry["host"], entry["outcome"]) for entry in late_replies] == [(server.host, "SENT")]


async def test_a_cancelled_call_stops_a_mail_that_has_not_left(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.DATA, stall), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        call = asyncio.ensure_future(send(service))
        await server.reached(State.DATA)
        call.cancel()
        await server.all_sessions_ended()
        assert not server.ledger


async def test_a_cancelled_call_does_not_cut_off_a_mail_that_has_left(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def late(wire: Any, reply: bytes) -> None:
        await released.wait()
        await wire.send(reply)

    async with (
        SmtpServer(Fault(State.ACCEPTED, late)) as server,
        running_service({"default": document_for(server)}, tmp_path, grace=5.0) as service,
    ):
        call = asyncio.ensure_future(send(service))
        await server.reached(State.ACCEPTED)
        call.cancel()
        released.set()
    assert len(server.ledger) == 1


async def test_a_stale_warm_connection_fails_nobody(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.IDLE, close)) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        for _ in range(3):
            await send(service)
        assert len(server.ledger) == 3


async def test_a_caller_whose_connection_breaks_does_not_send_the_mail_twice(tmp_path: Path) -> None:
    """The answer's headers come before the message leaves, so that no gRPC library repeats the call by itself."""
    async with (
        SmtpServer(Fault(State.ACCEPTED, stall)) as server,
        running_service({"default": document_for(server)}, tmp_path, grace=0.1) as service,
    ):
        relay = Relay(int(service.address.rpartition(":")[2]))
        async with relay.listening() as port, AsyncClient(f"127.0.0.1:{port}") as client:
            call = asyncio.ensure_future(client.send_message("a@example.com", "SignIn", timeout=5))
            await server.reached(State.ACCEPTED)
            relay.cut()
            with pytest.raises(DeliveryUncertain):
                await call
        assert len(server.ledger) == 1


@pytest.mark.parametrize(
    ("state", "reply", "code", "reason", "outcome"),
    [
        (State.MAIL, b"550 5.7.1 no\r\n", "FAILED_PRECONDITION", "SMTP_SENDER_REJECTED", "REJECTED"),
        (State.RCPT, b"550 5.1.1 no such user\r\n", "INVALID_ARGUMENT", "SMTP_RECIPIENT_REJECTED", "REJECTED"),
        (State.RCPT, b"450 4.2.0 later\r\n", "UNAVAILABLE", "SMTP_RECIPIENT_DEFERRED", "NOT_SENT"),
        (State.RCPT, b"451 4.7.0 too many\r\n", "RESOURCE_EXHAUSTED", "SMTP_RATE_LIMITED", "NOT_SENT"),
        (State.RECEIVED, b"554 5.6.0 spam\r\n", "FAILED_PRECONDITION", "SMTP_MESSAGE_REJECTED", "REJECTED"),
        (State.RECEIVED, b"451 4.3.0 later\r\n", "UNAVAILABLE", "SMTP_MESSAGE_DEFERRED", "NOT_SENT"),
        (State.RECEIVED, b"25 ok\r\n", "UNKNOWN", "DELIVERY_UNCERTAIN", "UNKNOWN"),
        (State.GREETING, b"554 go away\r\n", "FAILED_PRECONDITION", "SMTP_CONNECTION_REJECTED", "REJECTED"),
        (State.GREETING, b"421 4.3.2 busy\r\n", "UNAVAILABLE", "SMTP_SERVICE_UNAVAILABLE", "NOT_SENT"),
    ],
)
async def test_a_refusal_becomes_the_status_of_the_contract(
    state: State, reply: bytes, code: str, reason: str, outcome: str, tmp_path: Path
) -> None:
    async with (
        SmtpServer(Fault(state, reply_with(reply))) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        error = await send_refused(service)
        assert (error.code.name, error.reason, error.metadata["outcome"]) == (code, reason, outcome)
        assert not server.ledger


async def test_another_2yz_than_250_is_accepted(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.ACCEPTED, reply_with(b"252 2.0.0 fine\r\n"))) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        assert (await send(service)).reply.code == 252


async def test_nothing_listens(tmp_path: Path) -> None:
    async with SmtpServer() as server:
        document = document_for(server)
    async with running_service({"default": document}, tmp_path) as service:
        error = await send_refused(service)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SMTP_CONNECT_FAILED")
        assert error.metadata["host"] == "127.0.0.1"
        assert "RetryInfo" in error.details
