"""A store that is away: nothing is said that is not known, and everything has its end once it is back."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import grpc

from harness.documents import document_for
from harness.durable import ENQUEUE, Gate, ended, eventually, locked, message_ids, refused, rows, send, states
from harness.fault import Fault, State
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def full(file: Path) -> Iterator[None]:
    """Let a store take nothing inside the context, as a disk that is full does."""
    with closing(sqlite3.connect(file, timeout=30.0, isolation_level=None)) as connection:
        for event in ("INSERT ON delivery", "UPDATE ON delivery"):
            name = event.partition(" ")[0]
            connection.execute(
                f"CREATE TRIGGER full_{name} BEFORE {event} BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"
            )
        yield
        for name in ("INSERT", "UPDATE"):
            connection.execute(f"DROP TRIGGER full_{name}")


async def test_a_mail_that_asks_nothing_of_the_store_goes_on(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        with locked(file):
            await send(service)

        assert len(server.ledger) == 1


async def test_a_store_that_refuses_is_told_and_nothing_is_sent(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        with full(file):
            queued = await refused(service, delivery_mode=ENQUEUE)
            waited = await refused(service, supersede_key="ada")
            with_id = await refused(service, request_id="a", seconds=1.0)

        for error in (queued, waited):
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            assert error.metadata["outcome"] == "NOT_SENT"
        assert (with_id.code, with_id.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DELIVERY_PENDING")
        assert with_id.metadata["outcome"] == "UNKNOWN"
        assert (rows(file), server.ledger) == ([], [])
        await send(service, request_id="a")
        assert len(server.ledger) == 1


async def test_a_store_that_hangs_is_pending_for_who_can_ask_again_and_uncertain_for_who_cannot(
    tmp_path: Path, file: Path
) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        with locked(file):
            with_id = asyncio.ensure_future(refused(service, request_id="a", seconds=2.0))
            without = asyncio.ensure_future(refused(service, delivery_mode=ENQUEUE, seconds=2.0))
            errors = [await with_id, await without]
        assert [error.reason for error in errors] == ["DELIVERY_PENDING", "DELIVERY_UNCERTAIN"]
        assert [error.metadata["outcome"] for error in errors] == ["UNKNOWN", "UNKNOWN"]

        answer = await send(service, request_id="a")

        await eventually(lambda: not set(states(file)) & {"SENDING", "QUEUED"})
        assert answer.state == delivery_pb2.DELIVERY_STATE_SENT
        assert message_ids(server).count(answer.message_id) == 1
        assert sorted(message_ids(server)) == sorted(row.message_id for row in rows(file) if row.state == "SENT")


async def test_a_mail_does_not_leave_while_its_leaving_cannot_be_noted(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.DATA, gate, connection=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        call = asyncio.ensure_future(refused(service, request_id="a", seconds=4.0))
        await server.reached(State.DATA)
        with full(file):
            gate.open()
            error = await call
        assert (error.reason, error.metadata["outcome"]) == ("DELIVERY_PENDING", "UNKNOWN")
        assert not server.ledger
        await ended(file, "NOT_SENT")

        await send(service, request_id="a")

        assert len(server.ledger) == 1


async def test_a_success_that_cannot_be_noted_is_told_and_noted_later(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.ACCEPTED, gate)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        call = asyncio.ensure_future(send(service, request_id="a"))
        await server.reached(State.ACCEPTED)
        with full(file):
            gate.open()
            answer = await call
            assert states(file) == ["SENDING"]
        await ended(file, "SENT")

        assert await send(service, request_id="a") == answer
        assert len(server.ledger) == 1
