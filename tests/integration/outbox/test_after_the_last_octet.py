"""Between the last octet of a message and the reply to it: said to be uncertain, and never sent again in silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.documents import document_for
from harness.durable import ENQUEUE, RESEND, Gate, ended, message_ids, refused, rows, send
from harness.fault import Fault, State, close, reset, stall
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from pathlib import Path


async def test_silence_is_uncertain_for_the_call_and_pending_for_a_repeat_until_the_reply_comes_late(
    tmp_path: Path, file: Path
) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.ACCEPTED, gate)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        error = await refused(service, request_id="a", seconds=3.0)
        assert (error.code, error.reason) == (grpc.StatusCode.UNKNOWN, "DELIVERY_UNCERTAIN")
        assert error.metadata["outcome"] == "UNKNOWN"
        again = await refused(service, request_id="a", seconds=1.0)
        assert (again.code, again.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DELIVERY_PENDING")
        assert again.metadata["outcome"] == "UNKNOWN"
        gate.open()

        answer = await send(service, request_id="a")

        assert (answer.state, answer.reply.code) == (delivery_pb2.DELIVERY_STATE_SENT, 250)
        assert len(server.ledger) == 1


async def test_a_cancelled_call_does_not_cut_off_its_mail(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.ACCEPTED, gate)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        call = asyncio.ensure_future(send(service, request_id="a"))
        await server.reached(State.ACCEPTED)
        call.cancel()
        await asyncio.wait([call])
        gate.open()

        assert (await send(service, request_id="a")).state == delivery_pb2.DELIVERY_STATE_SENT
        assert len(server.ledger) == 1


@pytest.mark.parametrize("action", [close, reset])
@pytest.mark.parametrize("state", [State.RECEIVED, State.ACCEPTED])
async def test_a_lost_reply_is_held_and_never_a_second_mail(
    action: Any, state: State, tmp_path: Path, file: Path
) -> None:
    async with (
        SmtpServer(Fault(state, action)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await refused(service, request_id="a")
        again = await refused(service, request_id="a")

        for error in (first, again):
            assert (error.code, error.reason) == (grpc.StatusCode.UNKNOWN, "DELIVERY_UNCERTAIN")
            assert error.metadata["outcome"] == "UNKNOWN"
        assert (again.text, again.details) == (first.text, first.details)
        (row,) = rows(file)
        assert (row.history, row.has_content) == (("SENDING", "UNKNOWN"), True)
        assert len(server.sessions) == 1


async def test_resend_sends_one_more_copy_of_the_same_octets(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.ACCEPTED, close, connection=1)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        answer = await send(service, request_id="a", uncertain_policy=RESEND)

        assert answer.state == delivery_pb2.DELIVERY_STATE_SENT
        assert [accepted.content for accepted in server.ledger] == [server.ledger[0].content] * 2
        assert message_ids(server) == [answer.message_id] * 2
        assert await send(service, request_id="a", uncertain_policy=RESEND) == answer
        assert rows(file)[0].history == ("SENDING", "QUEUED", "SENDING", "SENT")


@pytest.mark.parametrize("mode", [delivery_pb2.DELIVERY_MODE_WAIT, ENQUEUE])
async def test_resend_never_sends_a_third_copy(
    mode: delivery_pb2.DeliveryMode.ValueType, tmp_path: Path, file: Path
) -> None:
    async with (
        SmtpServer(Fault(State.ACCEPTED, close)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        request = {"request_id": "a", "uncertain_policy": RESEND, "delivery_mode": mode}
        if mode == ENQUEUE:
            await send(service, **request)
        else:
            assert (await refused(service, **request)).reason == "DELIVERY_UNCERTAIN"
        (row,) = await ended(file, "UNKNOWN")

        assert row.history == ("SENDING", "QUEUED", "SENDING", "UNKNOWN")
        assert message_ids(server) == [row.message_id] * 2
        if mode == ENQUEUE:
            assert (await send(service, **request)).state == delivery_pb2.DELIVERY_STATE_UNKNOWN
        else:
            assert (await refused(service, **request)).reason == "DELIVERY_UNCERTAIN"
        assert len(server.ledger) == 2


async def test_resend_whose_second_copy_is_refused_stays_uncertain(tmp_path: Path, file: Path) -> None:
    async def refuse(wire: Any, reply: bytes) -> None:
        await wire.send(b"550 5.1.1 Nobody here\r\n")

    async with (
        SmtpServer(Fault(State.ACCEPTED, close, connection=1), Fault(State.RCPT, refuse, connection=2)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        error = await refused(service, request_id="a", uncertain_policy=RESEND)

        assert (error.reason, error.metadata["outcome"]) == ("DELIVERY_UNCERTAIN", "UNKNOWN")
        assert len(server.ledger) == 1


async def test_a_mail_whose_policy_is_resend_without_an_id_is_followed_to_its_end(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.ACCEPTED, close, connection=1)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        answer = await send(service, uncertain_policy=RESEND)

        assert answer.state == delivery_pb2.DELIVERY_STATE_SENT
        assert len(server.ledger) == 2


async def test_a_queued_message_whose_reply_comes_late_is_sent_once(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.ACCEPTED, gate)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        await send(service, request_id="a", delivery_mode=ENQUEUE)
        await server.reached(State.ACCEPTED)
        assert (await send(service, request_id="a", delivery_mode=ENQUEUE)).state == delivery_pb2.DELIVERY_STATE_SENDING
        gate.open()
        await ended(file, "SENT")

        assert len(server.ledger) == 1


async def test_a_server_that_stops_leaves_what_may_have_left_uncertain(tmp_path: Path, file: Path) -> None:
    async with SmtpServer(Fault(State.ACCEPTED, stall)) as server:
        async with running_service({"default": document_for(server)}, tmp_path, store=str(file), grace=0.2) as service:
            await send(service, request_id="a", delivery_mode=ENQUEUE)
            await server.reached(State.ACCEPTED)
        (row,) = await ended(file, "UNKNOWN")
        assert (row.reason, row.has_content) == ("DELIVERY_UNCERTAIN", True)
        async with running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service:
            again = await send(service, request_id="a", delivery_mode=ENQUEUE)
            assert again.state == delivery_pb2.DELIVERY_STATE_UNKNOWN
        assert len(server.ledger) == 1
