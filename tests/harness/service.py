"""The real service in the test's own loop: real gRPC on a free port, profiles from real files."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from smtpconnector.v1 import connector_service_pb2, connector_service_pb2_grpc, delivery_service_pb2_grpc
from smtpconnector_server.app import running_server
from smtpconnector_server.config.profile import load_profile
from smtpconnector_server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from google.protobuf.message import Message


@dataclass(frozen=True)
class Service:
    """A running service and a stub that is connected to it."""

    stub: connector_service_pb2_grpc.ConnectorServiceAsyncStub
    channel: grpc.aio.Channel
    address: str
    metrics_address: str | None = None

    @property
    def deliveries(self) -> delivery_service_pb2_grpc.DeliveryServiceAsyncStub:
        """A stub that asks what became of messages."""
        stub: delivery_service_pb2_grpc.DeliveryServiceAsyncStub = delivery_service_pb2_grpc.DeliveryServiceStub(
            self.channel
        )
        return stub

    async def send(self, **fields: Any) -> connector_service_pb2.SendMessageResponse:
        """Call SendMessage with these fields, under a deadline of ten seconds."""
        return await self.stub.SendMessage(connector_service_pb2.SendMessageRequest(**fields), timeout=10)

    async def is_healthy(self, name: str = "") -> bool:
        """Call the health service for one service; the empty name is the server."""
        return await is_healthy(self.channel, name)

    async def validate(self, *, within: float = 10, **fields: Any) -> connector_service_pb2.ValidateConfigResponse:
        """Call ValidateConfig with these fields, under a deadline in seconds."""
        return await self.stub.ValidateConfig(connector_service_pb2.ValidateConfigRequest(**fields), timeout=within)

    async def validate_refused(self, **fields: Any) -> CallError:
        """Call ValidateConfig and return the error that it must end with."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.validate(**fields)
        return CallError(raised.value)

    async def send_refused(self, **fields: Any) -> CallError:
        """Call SendMessage and return the error that it must end with."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.send(**fields)
        return CallError(raised.value)


async def is_healthy(channel: grpc.aio.Channel, name: str) -> bool:
    """Call the health service of a server for one of its services."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def running_service(
    profiles: Mapping[str, Mapping[str, Any]], folder: Path, **settings: Any
) -> AsyncIterator[Service]:
    """Serve with these profiles (name to document)."""
    files = {}
    for name, document in profiles.items():
        files[name] = folder / f"{name}.json"
        files[name].write_text(json.dumps(document), encoding="utf-8")
    loaded = {name: load_profile(file) for name, file in files.items()}
    flags = {"listen": "127.0.0.1:0", "grace": 1.0, "allow_target": ("127.0.0.0/8",), **settings}
    async with (
        running_server(load_settings(flags), loaded) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Service(
            connector_service_pb2_grpc.ConnectorServiceStub(channel), channel, server.address, server.metrics_address
        )


DETAILS = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
    error_details_pb2.PreconditionFailure,
    error_details_pb2.QuotaFailure,
)


class CallError:
    """What a failed call told: code, reason, metadata and violated fields."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.text = error.details() or ""
        self.details: dict[str, Message] = {}
        trailing = dict(error.trailing_metadata() or ())
        status = status_pb2.Status.FromString(bytes(trailing.get("grpc-status-details-bin", b"")))
        for packed in status.details:
            for kind in DETAILS:
                if packed.Is(kind.DESCRIPTOR):
                    detail = kind()
                    packed.Unpack(detail)
                    self.details[kind.__name__] = detail
        info = self.details.get("ErrorInfo", error_details_pb2.ErrorInfo())
        assert isinstance(info, error_details_pb2.ErrorInfo)
        self.reason = info.reason
        self.metadata = dict(info.metadata)
        bad_request = self.details.get("BadRequest", error_details_pb2.BadRequest())
        assert isinstance(bad_request, error_details_pb2.BadRequest)
        self.fields = [violation.field for violation in bad_request.field_violations]
