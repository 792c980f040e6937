"""The limit of one process of grpc.aio: the same contract, answered at once by an empty message. echo.py PORT."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc


class Echo(connector_service_pb2_grpc.ConnectorServiceServicer):
    """Does nothing."""

    async def SendMessage(  # noqa: D102, N802 - the contract's
        self,
        request: pb.SendMessageRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.SendMessageResponse:
        return pb.SendMessageResponse()


async def main(port: str) -> None:
    """Serve until the process is ended."""
    server = grpc.aio.server()
    connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(Echo(), server)  # type: ignore[abstract] # it has no more
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(sys.argv[1]))
