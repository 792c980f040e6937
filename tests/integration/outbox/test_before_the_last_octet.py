"""A call that ends before the last octet of its mail: nothing is sent, durably, and a repeat sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from harness.documents import document_for
from harness.durable import ended, eventually, message_ids, refused, rows, send
from harness.fault import Fault, State, close, stall
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from pathlib import Path

STATES = [State.GREETING, State.EHLO, State.MAIL, State.RCPT, State.DATA]


@pytest.mark.parametrize("state", STATES)
async def test_a_cancelled_call_sends_nothing_and_a_repeat_sends(state: State, tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(state, stall, connection=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        call = asyncio.ensure_future(send(service, request_id="a"))
        await server.reached(state)
        call.cancel()
        (before,) = await ended(file, "NOT_SENT")
        assert (before.reason, before.has_content) == ("CANCELLED", False)
        assert not server.ledger

        answer = await send(service, request_id="a")

        assert message_ids(server) == [before.message_id] == [answer.message_id]
        assert rows(file)[0].history == ("SENDING", "NOT_SENT", "SENDING", "SENT")


@pytest.mark.parametrize("state", [State.GREETING, State.DATA])
async def test_a_deadline_is_told_as_not_sent_and_a_repeat_sends(state: State, tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(state, stall, connection=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        error = await refused(service, request_id="a", seconds=3.0)
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert error.metadata["outcome"] == "NOT_SENT"
        (before,) = await ended(file, "NOT_SENT")

        answer = await send(service, request_id="a")

        assert message_ids(server) == [before.message_id] == [answer.message_id]


async def test_who_has_joined_takes_over_from_who_has_gone(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.DATA, stall, connection=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = asyncio.ensure_future(send(service, request_id="a"))
        await server.reached(State.DATA)
        others = [asyncio.ensure_future(send(service, request_id="a")) for _ in range(3)]
        assert (await refused(service, request_id="a", seconds=1.0)).reason == "DELIVERY_PENDING"  # they have joined
        first.cancel()
        answers = await asyncio.gather(*others)

        assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
        assert len(server.ledger) == 1


async def test_a_connection_that_breaks_before_the_message_is_tried_again_inside_the_call(
    tmp_path: Path, file: Path
) -> None:
    async with (
        SmtpServer(Fault(State.DATA, close, connection=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        answer = await send(service, request_id="a")
        again = await send(service, request_id="a")

        assert (answer.attempts, again) == (2, answer)
        assert len(server.ledger) == 1


async def test_calls_that_are_cancelled_at_any_moment_leave_nothing_in_hand(tmp_path: Path, file: Path) -> None:
    """Whatever a call was at: every message has its end, and every mail is one that the store knows of."""
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        await send(service, request_id="warm")
        calls = [asyncio.ensure_future(send(service, request_id=f"{number}")) for number in range(60)]
        for call in calls:
            await asyncio.sleep(0)  # the calls and the cancellations meet in all kinds of order
            await asyncio.sleep(0.001)
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await eventually(lambda: not {row.state for row in rows(file)} & {"QUEUED", "SENDING"})
        kept = {row.message_id: row.state for row in rows(file)}

        assert set(kept.values()) <= {"SENT", "NOT_SENT"}
        assert sorted(message_ids(server)) == sorted(key for key, state in kept.items() if state == "SENT")
        told = [answer.message_id for answer in answers if not isinstance(answer, BaseException)]
        assert set(told) <= set(message_ids(server))

        await asyncio.gather(*(send(service, request_id=f"{number}") for number in range(60)))

        assert len(server.ledger) == len(set(message_ids(server))) == 61
