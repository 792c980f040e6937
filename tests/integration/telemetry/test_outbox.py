"""What a running service tells of the messages that its store keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc

from harness.collector import Collector
from harness.documents import document_for
from harness.durable import ENQUEUE, send
from harness.inbox import Inbox
from harness.metrics_page import MetricsReader
from harness.served import served
from harness.service import running_service
from smtpconnector.v1 import connector_service_pb2, connector_service_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

IN_ATTEMPT = {"pool", "resolve", "connect", "greeting", "ehlo", "transaction"}


async def test_a_message_of_the_queue_shows_from_its_acceptance_to_its_end(tmp_path: Path) -> None:
    async with (
        Inbox() as inbox,
        running_service(
            {"shop": document_for(inbox)},
            tmp_path,
            store=str(tmp_path / "store.db"),
            metrics_listen="127.0.0.1:0",
        ) as service,
    ):
        for request_id in ("a", "b", "b"):
            await send(service, config={"profile": "shop"}, request_id=request_id, delivery_mode=ENQUEUE)
        assert service.metrics_address is not None
        metrics = MetricsReader(service.metrics_address)
        ended = {"profile": "shop", "state": "SENT", "reason": "OK"}
        assert await metrics.value_that(lambda count: count == 2, "messages_ended_total", **ended) == 2
        assert await metrics.value("messages_accepted_total", profile="shop", mode="ENQUEUE") == 2
        assert await metrics.value("message_attempts_total", profile="shop", reason="OK") == 2
        assert await metrics.value("message_seconds_count", mode="ENQUEUE", state="SENT") == 2
        assert await metrics.value("store_seconds_count", operation="commit") == 2
        assert await metrics.value("store_failures_total", operation="commit") == 0
        assert await metrics.value_that(lambda size: size is not None, "queue_messages", state="QUEUED") == 0
        assert await metrics.value("queue_oldest_due_seconds") == 0


async def test_the_lines_of_a_message_have_its_id_and_those_of_the_accepting_call_its_request_id(
    tmp_path: Path,
) -> None:
    async with Inbox() as inbox:
        flags = ["--store", str(tmp_path / "store.db")]
        for name, document in (("good", document_for(inbox)), ("down", document_for(inbox, port=1))):
            (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
            flags += ["--profile", f"{name}={tmp_path / name}.json"]
        async with served(*flags) as server, grpc.aio.insecure_channel(server.address) as channel:
            stub = connector_service_pb2_grpc.ConnectorServiceStub(channel)
            answers = {}
            for name in ("good", "down"):
                request = connector_service_pb2.SendMessageRequest(
                    to="ada@example.com", type="SignIn", config={"profile": name}, delivery_mode=ENQUEUE
                )
                metadata = (("x-request-id", f"call-{name}"),)
                answers[name] = await stub.SendMessage(request, timeout=20, metadata=metadata)
            ended, deferred = await server.line("message_ended"), await server.line("message_deferred")
            assert (ended["delivery_id"], ended["request_id"]) == (answers["good"].delivery_id, "call-good")
            assert (ended["state"], ended["smtp_code"], ended["attempt"]) == ("SENT", 250, 1)
            assert (deferred["delivery_id"], deferred["request_id"]) == (answers["down"].delivery_id, "call-down")
            assert deferred["reason"] == "SMTP_CONNECT_FAILED"
            failed = await server.line("session_failed")
            assert failed["delivery_id"] == answers["down"].delivery_id
            assert await server.stop() == 0
            assert b"ada@" not in server.errors


async def test_an_attempt_is_a_span_of_the_accepting_calls_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Collector() as collector, Inbox() as inbox:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        store = str(tmp_path / "store.db")
        async with running_service({"default": document_for(inbox)}, tmp_path, store=store) as service:
            answer = await send(service, delivery_mode=ENQUEUE)
        spans = await collector.spans(3 + len(IN_ATTEMPT))
        call, attempt = spans.pop("smtpconnector.v1.ConnectorService/SendMessage"), spans.pop("attempt")
        assert (attempt.trace_id, attempt.parent_span_id) == (call.trace_id, call.span_id)
        attributes = {attribute.key: attribute.value.string_value for attribute in attempt.attributes}
        assert attributes["smtpconnector.delivery_id"] == answer.delivery_id
        assert attributes["smtpconnector.state"] == "SENT"
        assert spans.pop("compose").parent_span_id == call.span_id
        assert set(spans) == IN_ATTEMPT
        for name, span in spans.items():
            assert span.parent_span_id == attempt.span_id, name
