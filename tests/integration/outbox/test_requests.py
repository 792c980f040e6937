"""What may be asked for: every wrong field is named at once, and what cannot be kept is refused by name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.documents import document_for
from harness.durable import ENQUEUE, RESEND, refused, rows, send
from harness.fault import Fault, State, stall
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from pathlib import Path

WEEK = 7 * 24 * 3600


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        error = await refused(
            service,
            to="nobody",
            client_ip="here",
            request_id="x" * 129,
            supersede_key="schl\u00fcssel",
            delivery_mode=7,
            uncertain_policy=7,
            expire_time={"seconds": int(time.time()) + 2 * WEEK},
        )

        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert set(error.fields) == {
            *("to", "client_ip", "request_id", "supersede_key", "delivery_mode", "uncertain_policy", "expire_time"),
        }
        assert rows(file) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", "line\nbreak"),
        ("request_id", "tab\t"),
        ("request_id", "\x7f"),
        ("supersede_key", "x" * 129),
        ("expire_time", {"seconds": -62135596801}),
        ("expire_time", {"seconds": 253402300800}),
        ("expire_time", {"seconds": 1, "nanos": -1}),
        ("expire_time", {"seconds": 1, "nanos": 1_000_000_000}),
    ],
)
async def test_a_field_that_is_wrong_is_named(field: str, value: Any, tmp_path: Path, file: Path) -> None:
    async with running_service({}, tmp_path, store=str(file)) as service:
        error = await refused(service, **{field: value})

        assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_the_longest_keys_are_taken(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        await send(
            service, request_id=" ~" * 64, supersede_key="~ " * 64, expire_time={"seconds": int(time.time()) + WEEK}
        )

        assert len(server.ledger) == 1


async def test_validate_only_keeps_nothing(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        answer = await send(service, validate_only=True, request_id="a", delivery_mode=ENQUEUE, supersede_key="k")

        assert (answer.delivery_id, answer.state) == ("", 0)
        assert (rows(file), server.ledger) == ([], [])


async def test_without_a_store_what_needs_one_is_refused_by_name(tmp_path: Path) -> None:
    asked = {"request_id": "a", "supersede_key": "k", "delivery_mode": ENQUEUE, "uncertain_policy": RESEND}
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        for field, value in asked.items():
            error = await refused(service, **{field: value})  # type: ignore[arg-type]
            assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
            assert error.fields == [field]
            assert field in error.text
        assert (await refused(service, **asked)).fields == list(asked)  # type: ignore[arg-type]
        await send(service, delivery_mode=1, uncertain_policy=1, expire_time={"seconds": int(time.time()) + 60})

        assert len(server.ledger) == 1


async def test_without_a_store_expire_time_bounds_the_call(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.DATA, stall), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path) as service,
    ):
        past = await refused(service, expire_time={"seconds": int(time.time()) - 1})
        assert not server.sessions
        soon = await refused(service, expire_time={"seconds": int(time.time()) + 2}, seconds=60.0)

        for error in (past, soon):
            assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DELIVERY_EXPIRED")
            assert error.metadata["outcome"] == "NOT_SENT"
        assert not server.ledger
