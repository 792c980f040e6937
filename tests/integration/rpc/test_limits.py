"""Limits over the wire: too many calls at once, too many mails for one key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.documents import document_for
from harness.fault import Fault, State, stall
from harness.inbox import Inbox
from harness.service import CallError, Service, running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


def assert_limited(error: CallError) -> None:
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LOCAL_RATE_LIMITED")
    assert {"QuotaFailure", "RetryInfo"} <= set(error.details)


@pytest.mark.parametrize(
    ("setting", "again", "other"),
    [
        ("limit_recipient", {"to": "ADA+tag@example.com"}, {"to": "bob@example.com"}),
        ("limit_client_ip", {"client_ip": "192.0.2.1"}, {"client_ip": "192.0.2.2"}),
        ("limit_profile", {}, {"config": {"profile": "other"}}),
    ],
)
async def test_a_key_that_had_its_share_waits_and_another_does_not(
    setting: str, again: dict[str, Any], other: dict[str, Any], inbox: Inbox, tmp_path: Path
) -> None:
    documents = {"default": document_for(inbox), "other": document_for(inbox)}
    settings: dict[str, Any] = {setting: "2/hour"}
    call = {"to": "ada@example.com", "type": "SignIn", "client_ip": "192.0.2.1"}
    async with running_service(documents, tmp_path, **settings) as service:
        await service.send(**call)
        await service.send(**{**call, **again})
        await service.send(**call, validate_only=True)  # sends nothing, counts nothing
        assert_limited(await service.send_refused(**call))
        await service.send(**{**call, **other})
        assert len(inbox.mails) == 3


async def test_too_many_calls_at_once_are_refused_and_health_is_not(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.MAIL, stall), extensions=()) as server:
        document = {**document_for(server), "port": server.port}
        async with running_service({"default": document}, tmp_path, max_calls=2, grace=0.1) as service:
            waiting = [asyncio.ensure_future(_send(service)) for _ in range(2)]
            await server.reached(State.MAIL)
            error = await service.send_refused(to="a@example.com", type="SignIn")
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVICE_OVERLOADED")
            assert await service.is_healthy()
            for call in waiting:
                call.cancel()


async def _send(service: Service) -> None:
    await service.send(to="a@example.com", type="SignIn")
