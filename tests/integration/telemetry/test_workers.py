"""The metrics of several workers, as one target."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import grpc

from harness.documents import document_for
from harness.inbox import Inbox
from harness.metrics_page import MetricsReader
from harness.served import served
from smtpconnector.v1 import connector_service_pb2, connector_service_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

SENT = {"profile": "default", "outcome": "SENT", "reason": "OK"}


async def test_workers_are_counted_together_and_no_total_falls_when_one_dies(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        profile = tmp_path / "profile.json"
        profile.write_text(json.dumps(document_for(inbox)), encoding="utf-8")
        folder = tmp_path / "temporary"
        folder.mkdir()
        flags = ("--profile", f"default={profile}", "--workers", "2", "--metrics-listen", "127.0.0.1:0")
        async with served(*flags, TMPDIR=str(folder)) as server:
            metrics = MetricsReader((await server.line("metrics_listening"))["address"])
            assert await metrics.value("worker_deaths_total") == 0
            for _ in range(8):  # the kernel gives each connection to either worker
                await _send(server.address)
            assert await metrics.value("mails_total", **SENT) == 8
            assert await metrics.value("build_info", version="0.1.0") == 1
            server_label = f"{inbox.host}:{inbox.port}"
            assert await metrics.value_that(bool, "pool_sessions", server=server_label, state="idle")

            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
            assert await metrics.value_that(lambda deaths: deaths == 2, "worker_deaths_total") == 2
            assert await metrics.value("mails_total", **SENT) == 8
            assert await metrics.value("pool_sessions", server=server_label, state="idle") is None
            await _send(server.address)
            assert await metrics.value("mails_total", **SENT) == 9
            assert await server.stop() == 0
        assert list(folder.iterdir()) == []


async def test_workers_with_a_store_count_against_one_limit(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        flags = ["--workers", "2", "--store", str(tmp_path / "store.db"), "--limit-recipient", "3/hour"]
        profile = tmp_path / "profile.json"
        profile.write_text(json.dumps(document_for(inbox)), encoding="utf-8")
        flags += ["--profile", f"default={profile}", "--metrics-listen", "127.0.0.1:0"]
        async with served(*flags) as server:
            codes = []
            for _ in range(8):  # the kernel gives each connection to either worker
                try:
                    await _send(server.address)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())
            assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 5
            assert len(inbox.mails) == 3
            metrics = MetricsReader((await server.line("metrics_listening"))["address"])
            assert await metrics.value("queue_messages", state="QUEUED") == 0
            assert await server.stop() == 0


async def _send(address: str) -> None:
    """Send over a connection of its own, waiting for the server if need be."""
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = connector_service_pb2_grpc.ConnectorServiceStub(channel)
        request = connector_service_pb2.SendMessageRequest(to="ada@example.com", type="SignIn")
        await stub.SendMessage(request, timeout=20, wait_for_ready=True)
