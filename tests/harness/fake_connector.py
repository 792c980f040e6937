"""A ConnectorService that answers what a test tells it to: for tests of the client, with and without asyncio."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from google.protobuf.message import Message

DOMAIN = "smtpconnector.v1"


@dataclass
class Abort:
    """An error status, with the details of google.rpc."""

    code: grpc.StatusCode
    text: str = "what happened"
    details: tuple[Message, ...] = ()
    pushback_ms: int | None = None
    raw_details: bytes | None = None

    def trailing(self) -> tuple[tuple[str, Any], ...]:
        trailing: list[tuple[str, Any]] = []
        if self.pushback_ms is not None:
            trailing.append(("grpc-retry-pushback-ms", str(self.pushback_ms)))
        if self.raw_details is not None:
            trailing.append(("grpc-status-details-bin", self.raw_details))
        if self.details:
            status = status_pb2.Status(code=self.code.value[0], message=self.text)
            for detail in self.details:
                packed = Packed()
                packed.Pack(detail)
                status.details.append(packed)
            trailing.append(("grpc-status-details-bin", status.SerializeToString()))
        return tuple(trailing)


def failure(code: grpc.StatusCode, reason: str, *details: Message, **metadata: str) -> Abort:
    """An error as the service gives it."""
    return Abort(code, details=(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata), *details))


@dataclass
class Hang:
    """No answer until the call ends. The events are those of a server in the loop."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Break:
    """The connection breaks, before or after the service has answered with headers."""

    relay: Relay
    after_headers: bool


Answer = Any  # a response, Abort, Hang or Break; None is an answer in good order


@dataclass
class Script:
    """What to answer, in order, the last one for ever; and what was asked."""

    answers: deque[Answer] = field(default_factory=lambda: deque([None]))
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    seconds_left: list[float] = field(default_factory=list)

    def will(self, *answers: Answer) -> None:
        self.answers = deque(answers)

    def take(self, request: Message, context: Any) -> Answer:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds_left.append(context.time_remaining())
        return self.answers.popleft() if len(self.answers) > 1 else self.answers[0]


_DEFAULTS = {
    "SendMessage": pb.SendMessageResponse(message_id="<1@example.com>"),
    "ValidateConfig": pb.ValidateConfigResponse(valid=True),
    "GetMetadata": pb.GetMetadataResponse(id="simple-mail-transfer-protocol"),
}


def _in_threads(script: Script, default: Message) -> Callable[[Any, Any], Any]:
    def answer(request: Any, context: Any) -> Any:
        answer = script.take(request, context)
        if isinstance(answer, Abort):
            context.set_trailing_metadata(answer.trailing())
            context.abort(answer.code, answer.text)
        if isinstance(answer, Hang):
            ended = threading.Event()
            if context.add_callback(ended.set):
                ended.wait(10)
            return default
        return default if answer is None else answer

    return answer


def _in_loop(script: Script, default: Message) -> Callable[[Any, Any], Any]:
    async def answer(request: Any, context: Any) -> Any:
        answer = script.take(request, context)
        if isinstance(answer, Abort):
            await context.abort(answer.code, answer.text, answer.trailing())
        if isinstance(answer, Break):
            if answer.after_headers:
                await context.send_initial_metadata(((_HEADERS_SENT, "1"),))
                await answer.relay.passed_on(_HEADERS_SENT.encode())
            answer.relay.cut()
            await asyncio.Event().wait()
        if isinstance(answer, Hang):
            answer.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                answer.ended.set()
        return default if answer is None else answer

    return answer


_HEADERS_SENT = "x-headers-sent"


class Relay:
    """A TCP relay in front of a server of this loop, whose connections can be cut."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: list[socket.socket] = []
        self._downstream = b""
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
            loop = asyncio.get_running_loop()
            loop.add_reader(listener, self._accept, listener)  # a cancelled sock_accept may lose a connection
            try:
                yield listener.getsockname()[1]
            finally:
                loop.remove_reader(listener)
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                for end in self._ends:
                    end.close()

    async def passed_on(self, octets: bytes) -> None:
        """Wait until a client has been sent these."""
        async with self._moved:
            await self._moved.wait_for(lambda: octets in self._downstream)

    def cut(self) -> None:
        """End every connection; what was passed on before arrives."""
        self._downstream = b""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        server = socket.socket()
        for end in (client, server):
            end.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._ends.append(end)
        self._tasks.append(asyncio.create_task(self._link(client, server)))

    async def _link(self, client: socket.socket, server: socket.socket) -> None:
        await asyncio.get_running_loop().sock_connect(server, ("127.0.0.1", self._server_port))
        await asyncio.gather(self._pump(client, server, seen=False), self._pump(server, client, seen=True))

    async def _pump(self, source: socket.socket, sink: socket.socket, *, seen: bool) -> None:
        loop = asyncio.get_running_loop()
        while octets := await loop.sock_recv(source, 65536):
            await loop.sock_sendall(sink, octets)
            if seen:
                async with self._moved:
                    self._downstream += octets
                    self._moved.notify_all()
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def serving(script: Script, credentials: grpc.ServerCredentials | None = None) -> Iterator[int]:
    """Serve from threads, for a client in threads: grpc.aio wants one loop in a process, and the test has it."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        port = _prepare(server, script, _in_threads, credentials)
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


@asynccontextmanager
async def serving_in_loop(script: Script, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[int]:
    """Serve from the running loop."""
    server = grpc.aio.server()
    port = _prepare(server, script, _in_loop, credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def _prepare(server: Any, script: Script, kind: Any, credentials: grpc.ServerCredentials | None) -> int:
    servicer = type("Servicer", (), {name: staticmethod(kind(script, default)) for name, default in _DEFAULTS.items()})
    rpc.add_ConnectorServiceServicer_to_server(servicer(), server)
    if credentials is None:
        return int(server.add_insecure_port("127.0.0.1:0"))
    return int(server.add_secure_port("127.0.0.1:0", credentials))
