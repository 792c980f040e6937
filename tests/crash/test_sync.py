"""SIGKILL takes no page cache with it: that each step is on the disk, only the system calls show."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest

from crash.tracer import SYNC
from harness.documents import document_for
from harness.fault import State
from harness.served import served
from harness.servers.programs import program
from harness.smtp_server import SmtpServer
from smtpconnector.v1.connector_service_pb2 import SendMessageRequest
from smtpconnector.v1.connector_service_pb2_grpc import ConnectorServiceStub
from smtpconnector.v1.delivery_pb2 import DeliveryMode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_MAILS = 10


@asynccontextmanager
async def _traced(pid: int, file: Path) -> AsyncIterator[None]:
    """Write down the syncs of a process while the context is open."""
    process = await asyncio.create_subprocess_exec(
        *(program("strace"), "-f", "-p", str(pid), "-e", f"trace={SYNC},fsync", "-o", str(file)),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            assert b"attached" in await process.stderr.readline()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


@pytest.mark.needs_server("strace")
@pytest.mark.parametrize(
    ("mode", "steps"),
    [(DeliveryMode.DELIVERY_MODE_WAIT, 3), (DeliveryMode.DELIVERY_MODE_ENQUEUE, 1)],
    ids=["accepted, about to leave, ended", "accepted"],
)
async def test_no_answer_is_given_before_all_that_it_says_is_on_the_disk(
    mode: DeliveryMode.ValueType, steps: int, tmp_path: Path
) -> None:
    syncs = tmp_path / "syncs"
    async with SmtpServer() as smtp:
        profile = tmp_path / "profile.json"
        profile.write_text(json.dumps(document_for(smtp)), encoding="utf-8")
        flags = ("--profile", f"default={profile}", "--store", str(tmp_path / "store"))
        async with served(*flags) as server, grpc.aio.insecure_channel(server.address) as channel:
            send = ConnectorServiceStub(channel).SendMessage
            async with _traced(server.process.pid, syncs):
                for number in range(_MAILS):
                    before = len(syncs.read_text(encoding="ascii").splitlines()) if syncs.exists() else 0
                    await send(
                        SendMessageRequest(
                            to="ada@example.com", type="SignIn", request_id=str(number), delivery_mode=mode
                        ),
                        timeout=20,
                    )
                    after = len(syncs.read_text(encoding="ascii").splitlines())
                    assert after - before >= steps
            await smtp.reached(State.IDLE)
