"""An OpenTelemetry collector that keeps what is exported to it by OTLP over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Listens on a free port of 127.0.0.1 while its context is open."""

    def __init__(self) -> None:
        self.exports: list[bytes] = []
        self.port = 0
        self._exported = asyncio.Event()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    async def spans(self, count: int) -> dict[str, Span]:
        """Return the spans by name as soon as there are so many."""
        async with asyncio.timeout(20):
            while len(spans := list(self._spans())) < count:
                self._exported.clear()
                await self._exported.wait()
        return {span.name: span for span in spans}

    def _spans(self) -> list[Span]:
        requests = (ExportTraceServiceRequest.FromString(octets) for octets in self.exports)
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
                fields = dict(line.lower().split(": ", 1) for line in head.rstrip().split("\r\n")[1:])
                self.exports.append(await reader.readexactly(int(fields["content-length"])))
                self._exported.set()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the exporter has left
        finally:
            writer.close()
