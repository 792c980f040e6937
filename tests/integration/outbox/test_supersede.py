"""supersede_key: the newest code is the one that arrives, the older ones never leave if they have not left yet."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import grpc
import pytest

from harness.documents import document_for
from harness.durable import ENQUEUE, Gate, ended, message_ids, refused, rows, send
from harness.fault import Fault, State, reply_and_close, reply_with, stall
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_newer_message_takes_the_place_of_queued_ones(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.GREETING, reply_and_close(b"421 4.3.2 Try again in 3600 seconds\r\n"))) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        for key in ("ada", "ada", "bob"):
            await send(service, delivery_mode=ENQUEUE, supersede_key=key)
        before = await ended(file, "SUPERSEDED", "QUEUED", "QUEUED")
        server.faults = ()
        newest = await send(service, delivery_mode=ENQUEUE, supersede_key="ada")
        after = rows(file)

        assert [row.state for row in after][:3] == ["SUPERSEDED", "SUPERSEDED", "QUEUED"]
        assert after[0].reason == after[1].reason == "DELIVERY_SUPERSEDED"
        assert [row.has_content for row in after][:3] == [False, False, True]
        assert newest.message_id not in {row.message_id for row in before}


@pytest.mark.parametrize("state", [State.GREETING, State.DATA])
async def test_a_call_that_waits_is_told_at_once_that_its_message_was_superseded(
    state: State, tmp_path: Path, file: Path
) -> None:
    async with (
        SmtpServer(Fault(state, stall, connection=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        older = asyncio.ensure_future(refused(service, request_id="a", supersede_key="ada", seconds=60.0))
        await server.reached(state)
        newer = await send(service, request_id="b", supersede_key="ada")
        error = await older

        assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "DELIVERY_SUPERSEDED")
        assert error.metadata["outcome"] == "NOT_SENT"
        assert newer.message_id in message_ids(server)
        assert (await refused(service, request_id="a", supersede_key="ada")).reason == "DELIVERY_SUPERSEDED"


async def test_a_message_that_may_have_left_is_left_alone(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.ACCEPTED, gate, connection=1)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        older = asyncio.ensure_future(send(service, supersede_key="ada"))
        await server.reached(State.ACCEPTED)
        await send(service, supersede_key="ada")
        gate.open()

        assert (await older).reply.code == 250
        await ended(file, "SENT", "SENT")


async def test_a_repeat_supersedes_nothing(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.GREETING, stall, connection=2), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        await send(service, request_id="a", supersede_key="ada")
        async with asyncio.timeout(30):
            newer = await send(service, request_id="b", supersede_key="ada", delivery_mode=ENQUEUE)
        await send(service, request_id="a", supersede_key="ada")
        await ended(file, "SENT", "SENT")

        assert newer.message_id in message_ids(server)


async def test_an_old_code_that_was_not_sent_never_follows_a_newer_one(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, reply_with(b"450 4.2.0 Try later\r\n"))) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        assert (await refused(service, request_id="a", supersede_key="ada")).metadata["outcome"] == "NOT_SENT"
        server.faults = ()
        newer = await send(service, request_id="b", supersede_key="ada")
        error = await refused(service, request_id="a", supersede_key="ada")

        assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "DELIVERY_SUPERSEDED")
        assert error.metadata["outcome"] == "NOT_SENT"
        assert message_ids(server) == [newer.message_id]
        await ended(file, "SUPERSEDED", "SENT")


async def test_keys_of_other_callers_are_other_keys(tmp_path: Path, file: Path) -> None:
    callers = tmp_path / "callers.toml"
    callers.write_text(
        "".join(
            f'[principals.{name}]\ntoken_sha256 = ["{hashlib.sha256(name.encode()).hexdigest()}"]\n'
            'profiles = ["default"]\n'
            for name in ("shop", "forum")
        ),
        encoding="utf-8",
    )
    async with (
        SmtpServer(Fault(State.GREETING, stall)) as server,
        running_service(
            {"default": document_for(server)}, tmp_path, store=str(file), auth_tokens=callers, grace=0.1
        ) as service,
    ):
        for token in ("shop", "forum", "shop"):
            await send(service, token=token, delivery_mode=ENQUEUE, supersede_key="ada")

        assert [row.state == "SUPERSEDED" for row in rows(file)] == [True, False, False]
