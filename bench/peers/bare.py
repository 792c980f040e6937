"""The limit of Python: grpc.aio and warm SMTP connections with nothing between. bare.py PORT PROFILE.

One fixed mail, pipelined; the request is not read, no reply is looked at but its line's end, nothing is noted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc

_ENVELOPE = b"MAIL FROM:<sender@example.com>\r\nRCPT TO:<inbox@example.com>\r\nDATA\r\n"
_MESSAGE = (
    b"From: Example <sender@example.com>\r\nTo: inbox@example.com\r\nSubject: Your sign-in code\r\n\r\n"
    b"Your code is 246810. It is valid for 10 minutes.\r\n.\r\n"
)


class Connection(asyncio.Protocol):
    """Counts the lines that come."""

    def __init__(self) -> None:
        self._awaited = 1  # the greeting
        self._done = asyncio.get_running_loop().create_future()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count."""
        self._awaited -= data.count(b"\n")
        if not self._awaited:
            self._done.set_result(None)

    async def greeting(self) -> None:
        """Wait for the server's first line, and say HELO: its answer is one line, EHLO's is many."""
        await self._done
        await self.ask(b"HELO bench.example.com\r\n", 1)

    async def ask(self, octets: bytes, lines: int) -> None:
        """Write, and wait for so many lines."""
        self._awaited = lines
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(octets)
        await self._done


class Bare(connector_service_pb2_grpc.ConnectorServiceServicer):
    """Sends the same mail for every call, by each connection in turn, so that none is idle for long."""

    def __init__(self, connections: asyncio.Queue[Connection]) -> None:
        self._connections = connections

    async def SendMessage(  # noqa: D102, N802 - the contract's
        self,
        request: pb.SendMessageRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.SendMessageResponse:
        connection = await self._connections.get()
        await connection.ask(_ENVELOPE, 3)
        await connection.ask(_MESSAGE, 1)
        self._connections.put_nowait(connection)
        return pb.SendMessageResponse()


async def main(port: str, document: str) -> None:
    """Serve until the process is ended."""
    profile = json.loads(document)
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(profile["maxConnections"]):
        _, connection = await asyncio.get_running_loop().create_connection(Connection, profile["host"], profile["port"])
        await connection.greeting()
        connections.put_nowait(connection)
    server = grpc.aio.server()
    connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(Bare(connections), server)  # type: ignore[abstract] # it has no more
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(sys.argv[1], Path(sys.argv[2]).read_text(encoding="utf-8")))
