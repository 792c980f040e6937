"""The traces of a running service, as a collector gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.collector import Collector
from harness.documents import document_for
from harness.inbox import Inbox
from harness.service import running_service
from smtpconnector.v1 import connector_service_pb2

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
STAGES = {"compose", "pool", "resolve", "connect", "greeting", "ehlo", "transaction"}


async def test_a_mail_is_traced_below_its_callers_span_stage_by_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Collector() as collector, Inbox() as inbox:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mail-of-the-shop")
        request = connector_service_pb2.SendMessageRequest(to="ada@example.com", type="SignIn", payload={"code": "1"})
        async with running_service({"default": document_for(inbox)}, tmp_path) as service:
            metadata = (("traceparent", f"00-{TRACE_ID}-{CALLERS_SPAN}-01"),)
            await service.stub.SendMessage(request, timeout=10, metadata=metadata)
        # The server is down: what it had to tell is told.
        spans = await collector.spans(1 + len(STAGES))
        call = spans.pop("smtpconnector.v1.ConnectorService/SendMessage")
        assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE_ID, CALLERS_SPAN)
        assert set(spans) == STAGES
        for name, span in spans.items():
            assert (span.trace_id, span.parent_span_id) == (call.trace_id, call.span_id), name
            assert call.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano, name
            assert span.end_time_unix_nano <= call.end_time_unix_nano, name
        assert spans["connect"].end_time_unix_nano <= spans["transaction"].start_time_unix_nano
        assert b"mail-of-the-shop" in b"".join(collector.exports)
        assert b"ada@example.com" not in b"".join(collector.exports)


async def test_traces_cost_nothing_where_nobody_asked_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Collector() as collector, Inbox() as inbox:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        async with running_service({"default": document_for(inbox)}, tmp_path) as service:
            await service.send(to="ada@example.com", type="SignIn", payload={"code": "1"})
        assert collector.exports == []
