"""What events are in a trace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from smtpconnector_server.delivery.events import MailEnded, MailSettled
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.outbox.events import AttemptStarted, ClaimLost, MessageDeferred, MessageEnded
from smtpconnector_server.rpc.events import CallEnded, CallStarted, MailComposed
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.events import SessionAwaited, SessionFailed, SessionOpened, TransactionEnded
from smtpconnector_server.smtp.transaction import Level
from smtpconnector_server.store.record import Attempt
from smtpconnector_server.store.state import Mode, State
from smtpconnector_server.telemetry.adapters import asked_for_traces
from smtpconnector_server.telemetry.hook import tell as telling
from smtpconnector_server.telemetry.tracing import Tracing, tracing_to

if TYPE_CHECKING:
    from collections.abc import Callable

HERE: dict[str, Any] = {"host": "smtp.example.com", "port": 587}
SERVER = {"server.address": "smtp.example.com", "server.port": 587}
COMPOSED: Any = None
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
METADATA = (("authorization", "Bearer canary"), ("traceparent", f"00-{TRACE_ID}-{CALLERS_SPAN}-01"), ("a-bin", b"\0"))
REFUSED = Failure(Reason.SMTP_AUTH_FAILED, "canary-text", stage=Stage.AUTH, outcome=Outcome.REJECTED)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tell(exporter: InMemorySpanExporter) -> Callable[..., Any]:
    """Tells a call's events in a task of its own, as the server does."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = telling(Tracing(provider).listeners)

    async def call(*events: Any) -> dict[str, Any]:
        for event in (CallStarted("SendMessage", METADATA, "smtpconnector.v1.ConnectorService"), *events):
            await asyncio.sleep(0)
            hook(event)
        return structlog.contextvars.get_contextvars()

    return lambda *events: asyncio.create_task(call(*events))


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_a_call_is_a_span_below_its_callers_with_a_span_for_each_stage(
    exporter: InMemorySpanExporter, tell: Callable[..., Any]
) -> None:
    steps = ((Stage.RESOLVE, 0.01), (Stage.CONNECT, 0.02), (Stage.AUTH, 0.03))
    await tell(
        MailComposed(COMPOSED, 0.001),
        SessionOpened(**HERE, seconds=0.06, capabilities=Capabilities(), steps=steps),
        SessionAwaited(**HERE, seconds=0.06, was_lent=True),
        TransactionEnded(**HERE, level=Level.PIPELINING, round_trips=2, seconds=0.1, failure=None),
        MailEnded("shop", None, 1, 0.2),
        CallEnded("SendMessage", "OK", None, 0.3),
    )
    spans = by_name(exporter)
    call = spans.pop("smtpconnector.v1.ConnectorService/SendMessage")
    assert call.kind is SpanKind.SERVER
    assert call.context is not None
    assert call.parent is not None
    assert (f"{call.context.trace_id:032x}", f"{call.parent.span_id:016x}") == (TRACE_ID, CALLERS_SPAN)
    assert call.status.status_code is StatusCode.UNSET
    assert dict(call.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "smtpconnector.v1.ConnectorService",
        "rpc.method": "SendMessage",
        "rpc.grpc.status": "OK",
        "smtpconnector.outcome": "SENT",
        "smtpconnector.attempts": 1,
        "smtpconnector.profile": "shop",
    }
    assert list(spans) == ["compose", "resolve", "connect", "auth", "pool", "transaction"]
    assert {span.parent and span.parent.span_id for span in spans.values()} == {call.context.span_id}
    assert dict(spans["transaction"].attributes or {}) == {
        **SERVER,
        "smtpconnector.level": "PIPELINING",
        "smtpconnector.round_trips": 2,
    }


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (MessageEnded("d1", "shop", Mode.ENQUEUE, 2, Attempt(reply_code=250), State.SENT, 0.5), "SENT", None),
        (
            MessageDeferred("d1", "shop", 2, Attempt(reason="SMTP_CONNECT_FAILED", stage="CONNECT"), 3.0),
            "QUEUED",
            "SMTP_CONNECT_FAILED",
        ),
    ],
)
async def test_an_attempt_of_the_queue_is_a_trace_of_its_own_that_its_messages_id_finds(
    exporter: InMemorySpanExporter, end: Any, state: str, reason: str | None
) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = telling(Tracing(provider).listeners)

    async def attempt() -> dict[str, Any]:
        hook(AttemptStarted("d1", 2, is_taken_over=False))
        hook(SessionAwaited(**HERE, seconds=0.01, was_lent=True))
        hook(end)
        return structlog.contextvars.get_contextvars()

    bound = await asyncio.create_task(attempt())
    spans = by_name(exporter)
    assert spans["attempt"].parent is None
    assert spans["pool"].parent == spans["attempt"].context
    attributes = dict(spans["attempt"].attributes or {})
    assert attributes["smtpconnector.delivery_id"] == "d1"
    assert (attributes["smtpconnector.attempt"], attributes["smtpconnector.state"]) == (2, state)
    assert attributes.get("error.type") == reason
    assert spans["attempt"].status.status_code is (StatusCode.ERROR if reason else StatusCode.UNSET)
    assert spans["attempt"].context is not None
    assert bound["trace_id"] == f"{spans['attempt'].context.trace_id:032x}"


async def test_an_attempt_that_was_stopped_ends_its_span(exporter: InMemorySpanExporter) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    hook = telling(Tracing(provider).listeners)

    async def attempt() -> None:
        hook(AttemptStarted("d1", 1, is_taken_over=False))
        hook(ClaimLost("d1", 1, State.CANCELLED))

    await asyncio.create_task(attempt())
    assert list(by_name(exporter)) == ["attempt"]


async def test_the_steps_of_a_log_in_follow_one_another(
    exporter: InMemorySpanExporter, tell: Callable[..., Any]
) -> None:
    steps = ((Stage.CONNECT, 0.02), (Stage.AUTH, 0.03))
    await tell(SessionFailed(**HERE, seconds=0.05, failure=REFUSED, steps=steps))
    spans = by_name(exporter)
    connect, auth = spans["connect"], spans["auth"]
    assert (connect.start_time or 0) + 20_000_000 == connect.end_time == auth.start_time
    assert (auth.start_time or 0) + 30_000_000 == auth.end_time
    assert (connect.status.status_code, auth.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)


async def test_what_failed_tells_its_reason_and_nothing_else(
    exporter: InMemorySpanExporter, tell: Callable[..., Any]
) -> None:
    await tell(
        TransactionEnded(**HERE, level=Level.SERIAL, round_trips=1, seconds=0.1, failure=REFUSED),
        MailEnded(None, REFUSED, 2, 0.2),
        CallEnded("SendMessage", "FAILED_PRECONDITION", REFUSED, 0.3),
    )
    for span in exporter.get_finished_spans():
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "SMTP_AUTH_FAILED")
        attributes = dict(span.attributes or {})
        assert (attributes["error.type"], attributes["smtpconnector.stage"]) == ("SMTP_AUTH_FAILED", "AUTH")
        assert "canary" not in span.to_json()


async def test_calls_at_the_same_time_do_not_mix(exporter: InMemorySpanExporter, tell: Callable[..., Any]) -> None:
    ended = CallEnded("SendMessage", "OK", None, 0.1)
    await asyncio.gather(*(tell(MailComposed(COMPOSED, 0.1), ended) for _ in range(3)))
    spans = exporter.get_finished_spans()
    calls = {span.context.span_id for span in spans if span.kind is SpanKind.SERVER and span.context}
    assert len(calls) == 3
    assert {span.parent.span_id for span in spans if span.name == "compose" and span.parent} == calls


async def test_a_late_reply_is_found_in_the_trace_of_its_call(
    exporter: InMemorySpanExporter, tell: Callable[..., Any]
) -> None:
    await tell(CallEnded("SendMessage", "UNKNOWN", REFUSED, 0.1), MailSettled("shop", "smtp.example.com", "SENT"))
    late = by_name(exporter)["late reply"]
    assert late.context is not None
    assert (f"{late.context.trace_id:032x}", dict(late.attributes or {})) == (
        TRACE_ID,
        {"smtpconnector.outcome": "SENT"},
    )


async def test_the_lines_of_a_traced_call_hold_its_trace(tell: Callable[..., Any]) -> None:
    assert (await tell())["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "mail"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp_proto_http", "console"]),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, []),
    ],
)
def test_traces_are_made_only_where_the_environment_asks_for_them(
    environment: dict[str, str], exporters: list[str]
) -> None:
    assert asked_for_traces(environment) == exporters


def test_an_exporter_that_is_not_installed_is_named() -> None:
    with pytest.raises(LookupError, match="no_such_exporter"):
        tracing_to(["no_such_exporter"])
