"""Servers that stop, vanish or freeze: what they had in hand is sent by another one, once, or said to be uncertain."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from harness.documents import document_for
from harness.durable import ENQUEUE, RESEND, Gate, ended, message_ids, refused, rows, send, states
from harness.fault import Fault, State, stall
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import delivery_pb2
from smtpconnector_server.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def test_a_server_that_stops_gives_back_what_has_not_left(tmp_path: Path, file: Path) -> None:
    async with SmtpServer(Fault(State.DATA, stall), extensions=()) as server:
        profiles = {"default": document_for(server)}
        async with running_service(profiles, tmp_path, store=str(file), grace=0.1) as service:
            for number in range(60):  # more than are in hand at once
                await send(service, request_id=f"{number}", delivery_mode=ENQUEUE)
            await server.reached(State.DATA)
        assert states(file) == ["QUEUED"] * 60
        server.faults = ()
        async with running_service(profiles, tmp_path, store=str(file)):
            await ended(file, *["SENT"] * 60)

        assert sorted(message_ids(server)) == sorted(row.message_id for row in rows(file))


async def test_a_call_that_is_cut_off_by_a_server_that_stops_can_be_repeated_at_the_next(
    tmp_path: Path, file: Path
) -> None:
    async with SmtpServer(Fault(State.DATA, stall), extensions=()) as server:
        profiles = {"default": document_for(server)}
        async with running_service(profiles, tmp_path, store=str(file), grace=0.1) as service:
            call = asyncio.ensure_future(send(service, request_id="a"))
            await server.reached(State.DATA)
        await asyncio.wait([call])
        assert states(file)[0] in {"NOT_SENT", "QUEUED"}
        server.faults = ()
        async with running_service(profiles, tmp_path, store=str(file)) as service:
            answer = await send(service, request_id="a")

        assert message_ids(server) == [answer.message_id]


async def test_a_server_that_stops_waits_for_the_replies_that_come_in_time(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with SmtpServer(Fault(State.ACCEPTED, gate)) as server:
        async with running_service({"default": document_for(server)}, tmp_path, store=str(file), grace=20) as service:
            await send(service, delivery_mode=ENQUEUE)
            await server.reached(State.ACCEPTED)
            asyncio.get_running_loop().call_later(0.1, gate.open)

        assert states(file) == ["SENT"]


async def test_resend_sends_what_a_stopped_server_left_uncertain(tmp_path: Path, file: Path) -> None:
    async with SmtpServer(Fault(State.ACCEPTED, stall, connection=1)) as server:
        profiles = {"default": document_for(server)}
        async with running_service(profiles, tmp_path, store=str(file), grace=0.1) as service:
            await send(service, delivery_mode=ENQUEUE, uncertain_policy=RESEND)
            await server.reached(State.ACCEPTED)
        async with running_service(profiles, tmp_path, store=str(file)):
            (row,) = await ended(file, "SENT")

        assert message_ids(server) == [row.message_id] * 2
        assert server.ledger[0].content == server.ledger[1].content


async def test_what_a_vanished_server_had_in_hand_is_taken_over(tmp_path: Path, file: Path) -> None:
    """A message that had not left is sent; one that may have left is held, or sent again by the caller's wish."""
    async with SmtpServer(Fault(State.GREETING, stall)) as server:
        profiles = {"default": document_for(server)}
        async with running_service(profiles, tmp_path, store=str(file), grace=0.1) as service:
            for policy in (delivery_pb2.UNCERTAIN_POLICY_HOLD, delivery_pb2.UNCERTAIN_POLICY_HOLD, RESEND):
                await send(service, delivery_mode=ENQUEUE, uncertain_policy=policy)
        server.faults = ()
        async with bare_store(file) as store:
            await store.beat("gone", lease=3.0)
            claims = await store.claim("gone", "profile:default", count=10)
            for claim in sorted(claims, key=lambda claim: claim.kept.id)[1:]:
                await store.commit(claim)
            async with running_service(profiles, tmp_path, store=str(file)):
                assert states(file) == ["SENDING"] * 3
                await ended(file, "SENT", "UNKNOWN", "SENT")

        assert sorted(message_ids(server)) == sorted([rows(file)[0].message_id, rows(file)[2].message_id])


async def test_a_frozen_server_can_neither_send_nor_change_what_was_taken_over(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with SmtpServer(Fault(State.DATA, gate, connection=1), extensions=()) as server:
        profiles = {"default": document_for(server)}
        async with (
            running_service(profiles, tmp_path, store=str(file)) as frozen,
            running_service(profiles, tmp_path, store=str(file)),
        ):
            call = asyncio.ensure_future(send(frozen, request_id="a"))
            await server.reached(State.DATA)
            forget_servers(file)
            await ended(file, "SENT")
            gate.open()

            assert (await call).state == delivery_pb2.DELIVERY_STATE_SENT
        assert message_ids(server) == [rows(file)[0].message_id]


async def test_a_late_success_of_a_frozen_server_is_learnt(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with SmtpServer(Fault(State.ACCEPTED, gate)) as server:
        profiles = {"default": document_for(server)}
        async with (
            running_service(profiles, tmp_path, store=str(file)) as frozen,
            running_service(profiles, tmp_path, store=str(file)) as other,
        ):
            call = asyncio.ensure_future(send(frozen, request_id="a"))
            await server.reached(State.ACCEPTED)
            forget_servers(file)
            await ended(file, "UNKNOWN")
            assert (await refused(other, request_id="a")).reason == "DELIVERY_UNCERTAIN"
            gate.open()

            answer = await call
            assert answer.state == delivery_pb2.DELIVERY_STATE_SENT
            assert await send(other, request_id="a") == answer
        assert len(server.ledger) == 1


@asynccontextmanager
async def bare_store(file: Path) -> AsyncIterator[SqliteStore]:
    """A server's share in the store, and nothing of the server."""
    store = await SqliteStore.open(file)
    try:
        yield store
    finally:
        await store.close()


def forget_servers(file: Path) -> None:
    """Have all servers taken for dead, until they say again that they live."""
    with closing(sqlite3.connect(file, timeout=10.0)) as connection, connection:
        connection.execute("UPDATE server SET alive_until = 0")
