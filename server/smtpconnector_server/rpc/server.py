"""The gRPC server: its options, its services beside ours (health, reflection), and its life from bind to drain."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from smtpconnector.v1 import (
    connector_service_pb2,
    connector_service_pb2_grpc,
    delivery_service_pb2,
    delivery_service_pb2_grpc,
)
from smtpconnector_server.rpc.boundary import BoundaryInterceptor
from smtpconnector_server.rpc.streaming import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from smtpconnector_server.rpc.callers import Callers, CallersFile
    from smtpconnector_server.rpc.delivery_servicer import DeliveryServicer
    from smtpconnector_server.rpc.events import CallHook
    from smtpconnector_server.rpc.servicer import ConnectorServicer

SERVICE_NAME: Final = connector_service_pb2.DESCRIPTOR.services_by_name["ConnectorService"].full_name
DELIVERY_SERVICE_NAME: Final = delivery_service_pb2.DESCRIPTOR.services_by_name["DeliveryService"].full_name

MAX_REQUEST_OCTETS: Final = 1024 * 1024
"""A larger request is refused by gRPC itself with RESOURCE_EXHAUSTED, before it is read."""
_MAX_METADATA_OCTETS: Final = 8 * 1024
_MIN_PING_INTERVAL_MS: Final = 30_000
"""Clients may send keepalive pings this often; the bundled one sends every 60 s."""
_MAX_STREAMS: Final = 2000
"""Calls at once on one connection; beyond it the client's library waits."""
_CONNECTION_AGE_MS: Final = 30 * 60 * 1000
"""After which a client is asked to connect anew, so that new servers and workers get their share."""
_CONNECTION_AGE_GRACE_MS: Final = 5 * 60 * 1000

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_LOOK_SECONDS: Final = 0.5
"""Between two looks whether the store is there."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_REQUEST_OCTETS),
    ("grpc.max_metadata_size", _MAX_METADATA_OCTETS),
    ("grpc.absolute_max_metadata_size", _MAX_METADATA_OCTETS),
    ("grpc.max_concurrent_streams", _MAX_STREAMS),
    ("grpc.max_connection_age_ms", _CONNECTION_AGE_MS),
    ("grpc.max_connection_age_grace_ms", _CONNECTION_AGE_GRACE_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
)


class BindError(OSError):
    """The address cannot be bound."""


class _Generic:
    """Where generated code adds a service, by its handlers alone and not method by method.

    grpc.aio waits for the next call of each registered method, and with every call for all of them anew: a dozen
    methods cost each call as much as reading its request.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add the handlers of a service."""
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, object]) -> None:
        """Register no method."""


class RpcServer:
    """A bound gRPC server that answers NOT_SERVING until it is started and while it drains."""

    def __init__(
        self,
        servicer: ConnectorServicer,
        deliveries: DeliveryServicer,
        listen: str,
        *,
        hook: CallHook,
        callers: Callers | CallersFile | None = None,
        credentials: grpc.ServerCredentials | None = None,
        shares_port: bool = False,
    ) -> None:
        """Bind.

        Args:
            servicer: Answers the calls that send.
            deliveries: Answers the calls that ask what became of it.
            listen: HOST:PORT; port 0 takes a free one.
            hook: Told of every call.
            callers: Who may call. None: anybody.
            credentials: Of TLS. None: serve in the clear.
            shares_port: Whether other processes of this service bind the same port.

        Raises:
            BindError: The address is in use or not of this machine.
        """
        self._streams = Streams()
        services = {SERVICE_NAME: True, DELIVERY_SERVICE_NAME: False}
        self._server = grpc.aio.server(
            interceptors=[BoundaryInterceptor(services, callers, hook, self._streams)],
            # Without this a second server binds the same port silently and takes half of the calls.
            options=(*_OPTIONS, ("grpc.so_reuseport", int(shares_port))),
        )
        self._health = health.aio.HealthServicer()
        added: Any = _Generic(self._server)  # as much of a server as adding needs
        connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(servicer, added)
        delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(deliveries, added)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, added)
        if callers is None:  # the reflection service asks nobody who he is
            names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflected = reflection.aio.ReflectionServicer(names)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, added)  # type: ignore[no-untyped-call] # its stub has no types
        host, _, _ = listen.rpartition(":")
        try:
            port = (
                self._server.add_insecure_port(listen)
                if credentials is None
                else self._server.add_secure_port(listen, credentials)
            )
        except RuntimeError as error:
            raise BindError(f"cannot listen on {listen}: the address is in use or not of this machine") from error
        self.address = f"{host}:{port}"
        """The address that is served, with the real port."""

    async def start(self) -> None:
        """Begin to serve. The health of DeliveryService is NOT_SERVING until :meth:`follow_store` says otherwise."""
        await self._server.start()
        await self._health.set(DELIVERY_SERVICE_NAME, _NOT_SERVING)
        for service in ("", SERVICE_NAME):
            await self._health.set(service, _SERVING)

    async def follow_store(self, is_there: Callable[[], bool]) -> None:
        """Tell for ever whether the store is there, by the health of DeliveryService alone.

        The server as a whole goes on: mails that need no store are sent, and taking every replica out of service while
        one database restarts would stop those too.
        """
        was_there = False
        while True:
            if is_there() is not was_there:
                was_there = not was_there
                await self._health.set(DELIVERY_SERVICE_NAME, _SERVING if was_there else _NOT_SERVING)
            await asyncio.sleep(_LOOK_SECONDS)

    async def drain(self, grace: float) -> None:
        """Turn NOT_SERVING, end streams, refuse new calls and let those in flight finish for ``grace`` seconds."""
        await self._health.enter_graceful_shutdown()
        self._streams.end()
        await self._server.stop(grace)
