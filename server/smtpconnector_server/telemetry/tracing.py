"""The adapter to OpenTelemetry: a span a call, below the caller's own, and in it a span a stage.

It is imported only where the environment asks for traces, and needs the extra ``otel``. Spans of stages are made when
a stage is over, with the times that it had, so nothing is held open in between. No span has a recipient, nor any text
that a server or a caller wrote.
"""

from __future__ import annotations

import asyncio
import threading
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry import context, trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from smtpconnector_server import __version__
from smtpconnector_server.delivery.events import SENT, MailEnded, MailSettled
from smtpconnector_server.outbox.events import AttemptStarted, ClaimLost, MessageDeferred, MessageEnded
from smtpconnector_server.rpc.events import CallEnded, CallStarted, MailComposed
from smtpconnector_server.smtp.events import SessionAwaited, SessionFailed, SessionOpened, TransactionEnded
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.util.types import AttributeValue

    from smtpconnector_server.failure import Failure
    from smtpconnector_server.store.record import Attempt
    from smtpconnector_server.telemetry.hook import Listeners

_FLUSH_SECONDS: Final = 3.0
"""For the last spans, when the server stops."""


class Tracing:
    """Makes spans of events.

    Args:
        provider: Where they go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("smtpconnector", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self.listeners: Listeners = {  # each takes the event that stands before it
            CallStarted: self._call_started,
            CallEnded: _call_ended,
            MailComposed: lambda event: self._stage("compose", event.seconds),
            MailEnded: _mail_ended,
            MailSettled: lambda event: self._stage("late reply", 0.0, {"smtpconnector.outcome": str(event.outcome)}),
            SessionAwaited: lambda event: self._stage("pool", event.seconds, _server(event)),
            SessionOpened: lambda event: self._session(event, None),
            SessionFailed: lambda event: self._session(event, event.failure),
            TransactionEnded: self._transaction_ended,
            AttemptStarted: self._attempt_started,
            MessageDeferred: _message_deferred,
            MessageEnded: _message_ended,
            ClaimLost: lambda _event: trace.get_current_span().end(),
        }

    async def aclose(self) -> None:
        """Export what is left, for a few seconds at most."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _FLUSH_SECONDS)

    def _call_started(self, event: CallStarted) -> None:
        parent = self._propagator.extract({key: value for key, value in event.metadata if isinstance(value, str)})
        span = self._tracer.start_span(
            f"{event.service}/{event.method}",
            parent,
            SpanKind.SERVER,
            {"rpc.system": "grpc", "rpc.service": event.service, "rpc.method": event.method},
        )
        context.attach(trace.set_span_in_context(span, parent))  # for the task of the call, and with it it ends
        structlog.contextvars.bind_contextvars(trace_id=trace.format_trace_id(span.get_span_context().trace_id))

    def _attempt_started(self, event: AttemptStarted) -> None:
        span = self._tracer.start_span("attempt")
        span.set_attributes({"smtpconnector.delivery_id": event.delivery_id, "smtpconnector.attempt": event.number})
        context.attach(trace.set_span_in_context(span))  # for the task of the attempt, and with it it ends
        structlog.contextvars.bind_contextvars(trace_id=trace.format_trace_id(span.get_span_context().trace_id))

    def _session(self, event: SessionOpened | SessionFailed, failure: Failure | None) -> None:
        began = time.time_ns() - _nanoseconds(event.seconds)
        for number, (stage, seconds) in enumerate(event.steps, 1):
            ended = began + _nanoseconds(seconds)
            self._span(stage.lower(), began, ended, _server(event), failure if number == len(event.steps) else None)
            began = ended

    def _transaction_ended(self, event: TransactionEnded) -> None:
        attributes = {
            **_server(event),
            "smtpconnector.level": event.level.name,
            "smtpconnector.round_trips": event.round_trips,
        }
        self._stage("transaction", event.seconds, attributes, event.failure)

    def _stage(
        self,
        name: str,
        seconds: float,
        attributes: Mapping[str, AttributeValue] | None = None,
        failure: Failure | None = None,
    ) -> None:
        ended = time.time_ns()
        self._span(name, ended - _nanoseconds(seconds), ended, attributes, failure)

    def _span(
        self,
        name: str,
        began: int,
        ended: int,
        attributes: Mapping[str, AttributeValue] | None,
        failure: Failure | None,
    ) -> None:
        span = self._tracer.start_span(name, attributes=attributes, start_time=began)
        if failure is not None:
            _mark(span, failure)
        span.end(ended)


def _call_ended(event: CallEnded) -> None:
    span = trace.get_current_span()
    span.set_attribute("rpc.grpc.status", event.code)
    if event.failure is not None:
        _mark(span, event.failure)
    span.end()


def _mail_ended(event: MailEnded) -> None:
    outcome = SENT if event.failure is None else event.failure.outcome
    span = trace.get_current_span()
    span.set_attributes({"smtpconnector.outcome": str(outcome), "smtpconnector.attempts": event.attempts})
    if event.profile is not None:
        span.set_attribute("smtpconnector.profile", event.profile)


def _message_deferred(event: MessageDeferred) -> None:
    _end_attempt(State.QUEUED, event.attempt)


def _message_ended(event: MessageEnded) -> None:
    _end_attempt(event.state, event.attempt)


def _end_attempt(state: State, attempt: Attempt) -> None:
    span = trace.get_current_span()
    span.set_attribute("smtpconnector.state", state)
    if attempt.reason:
        span.set_attributes({"error.type": attempt.reason, "smtpconnector.stage": attempt.stage})
        span.set_status(Status(StatusCode.ERROR, attempt.reason))
    span.end()


def _mark(span: trace.Span, failure: Failure) -> None:
    span.set_attributes({"error.type": str(failure.reason), "smtpconnector.stage": str(failure.stage)})
    span.set_status(Status(StatusCode.ERROR, str(failure.reason)))


def _server(event: SessionAwaited | SessionOpened | SessionFailed | TransactionEnded) -> dict[str, AttributeValue]:
    return {"server.address": event.host, "server.port": event.port}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def tracing_to(exporters: Iterable[str]) -> Tracing:
    """Return tracing that exports where OpenTelemetry's variables say.

    Args:
        exporters: Their names, as packages give them.

    Raises:
        LookupError: One is not installed.
    """
    resource = Resource.create({"service.name": "smtpconnector", "service.version": __version__})
    provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()))
    for name in exporters:
        found = list(entry_points(group="opentelemetry_traces_exporter", name=name))
        if not found:
            raise LookupError(f"no OpenTelemetry exporter {name!r} is installed")
        provider.add_span_processor(BatchSpanProcessor(found[0].load()()))
    return Tracing(provider)
