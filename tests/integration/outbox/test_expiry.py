"""expire_time is a bound on leaving, and not on asking what became of a mail that left in time."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from harness.documents import document_for
from harness.durable import ENQUEUE, Gate, ended, locked, refused, send
from harness.fault import Fault, State, reply_with, stall
from harness.service import CallError, running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1.delivery_pb2 import DeliveryMode, DeliveryState

if TYPE_CHECKING:
    from pathlib import Path

    from harness.wire import Wire

MODES = (DeliveryMode.DELIVERY_MODE_WAIT, DeliveryMode.DELIVERY_MODE_ENQUEUE)


def _in(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(time.time() + seconds), nanos=0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_repeat_after_expire_time_gets_the_answer_of_the_first(
    mode: DeliveryMode.ValueType, tmp_path: Path
) -> None:
    request = {"to": "ada@example.com", "type": "SignIn", "request_id": "r", "delivery_mode": mode}
    async with (
        SmtpServer() as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(tmp_path / "store")) as service,
    ):
        first = await service.send(**request, expire_time=_in(60))
        await smtp.reached(State.IDLE)
        repeat = await service.send(**request, expire_time=_in(-60))
        assert (repeat.delivery_id, repeat.message_id) == (first.delivery_id, first.message_id)
        assert len(smtp.ledger) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_request_whose_time_is_over_is_refused(mode: DeliveryMode.ValueType, tmp_path: Path) -> None:
    async with (
        SmtpServer() as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(tmp_path / "store")) as service,
    ):
        error = await service.send_refused(
            to="ada@example.com", type="SignIn", request_id="r", delivery_mode=mode, expire_time=_in(-1)
        )
        assert (error.reason, error.metadata["outcome"]) == ("DELIVERY_EXPIRED", "NOT_SENT")
        assert smtp.sessions == []


async def test_a_call_that_waits_is_told_at_expire_time_that_the_mail_has_expired(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, stall)) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(tmp_path / "store")) as service,
    ):
        began = time.monotonic()
        request = {"to": "ada@example.com", "type": "SignIn", "request_id": "r", "expire_time": _in(2)}
        error = await service.send_refused(**request)
        assert error.reason == "DELIVERY_EXPIRED"
        assert time.monotonic() - began < 8  # the call itself has ten seconds
        assert (await service.send_refused(**request)).reason == "DELIVERY_EXPIRED"


async def test_a_queued_mail_that_is_deferred_beyond_its_time_never_leaves(tmp_path: Path) -> None:
    file = tmp_path / "store"
    async with (
        SmtpServer(
            Fault(State.RCPT, reply_with(b"450 4.2.1 Try again in 3600 seconds\r\n"), occurrence=1), extensions=()
        ) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(file)) as service,
    ):
        await send(service, request_id="r", delivery_mode=ENQUEUE, expire_time=_in(3))
        (row,) = await ended(file, "EXPIRED")

        assert (row.reason, row.has_content) == ("DELIVERY_EXPIRED", False)
        again = await send(service, request_id="r", delivery_mode=ENQUEUE)
        assert again.state == DeliveryState.DELIVERY_STATE_EXPIRED
        assert not smtp.ledger


@pytest.mark.parametrize("mode", MODES)
async def test_a_mail_whose_time_ends_on_its_way_is_stopped_before_its_last_octet(
    mode: DeliveryMode.ValueType, tmp_path: Path
) -> None:
    file = tmp_path / "store"
    gate = Gate()
    async with (
        SmtpServer(Fault(State.DATA, gate), extensions=()) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(file)) as service,
    ):
        call = asyncio.ensure_future(send(service, request_id="r", delivery_mode=mode, expire_time=_in(60)))
        await smtp.reached(State.DATA)
        let_expire(file)
        gate.open()
        await ended(file, "EXPIRED")
        if mode == DeliveryMode.DELIVERY_MODE_WAIT:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call
            assert CallError(raised.value).reason == "DELIVERY_EXPIRED"
        else:
            await call

        assert not smtp.ledger


async def test_a_mail_that_expires_between_two_connections_is_stopped_although_the_first_was_about_to_carry_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "store"

    async def break_off(wire: Wire, reply: bytes) -> None:
        with locked(file):
            await wire.send(reply)
            await service.is_healthy()  # a call's time later the store has been asked
            wire.finish()
            await service.is_healthy()  # and the end of the connection was seen

    async def greet_too_late(wire: Wire, reply: bytes) -> None:
        let_expire(file)
        await wire.send(reply)

    async with (
        SmtpServer(
            Fault(State.DATA, break_off, connection=1),
            Fault(State.GREETING, greet_too_late, connection=2),
            extensions=(),
        ) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(file)) as service,
    ):
        error = await refused(service, request_id="r", expire_time=_in(60))

        assert len(smtp.sessions) == 2
        assert (error.reason, error.metadata["outcome"]) == ("DELIVERY_EXPIRED", "NOT_SENT")
        assert not smtp.ledger


async def test_a_deadline_that_passes_by_the_stores_clock_alone_is_no_end(tmp_path: Path) -> None:
    file = tmp_path / "store"
    gate = Gate()
    async with (
        SmtpServer(Fault(State.DATA, gate), extensions=()) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(file)) as service,
    ):
        call = asyncio.ensure_future(send(service, request_id="r", seconds=60.0))
        await smtp.reached(State.DATA)
        let_expire(file)
        gate.open()

        assert (await call).state == DeliveryState.DELIVERY_STATE_SENT
        assert len(smtp.ledger) == 1


def let_expire(file: Path) -> None:
    """Let the time of every message be over."""
    with closing(sqlite3.connect(file, timeout=10.0)) as connection, connection:
        connection.execute("UPDATE delivery SET expires_at = updated_at")
