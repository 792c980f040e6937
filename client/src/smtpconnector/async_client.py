"""The client for asyncio; it differs from :class:`~smtpconnector.client.Client` only in waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from grpc import RpcError

from smtpconnector._attempts import Attempts, Sending, pause_of_watch
from smtpconnector._delivery_request import (
    DeliveryWish,
    cancel_request,
    get_request,
    list_request,
    resolve_request,
    watch_request,
)
from smtpconnector._request import is_repeatable, send_message_request, validate_config_request
from smtpconnector._status import error_from
from smtpconnector.channel import DEFAULT_TIMEOUT_SECONDS, Endpoint
from smtpconnector.delivery import (
    Delivery,
    DeliveryChange,
    DeliveryMode,
    DeliveryState,
    Resolution,
    UncertainPolicy,
    change_from,
    delivery_from,
)
from smtpconnector.errors import SmtpConnectorError
from smtpconnector.results import ConfigReport, Depth, SentMessage, config_report, sent_message
from smtpconnector.v1.connector_service_pb2 import GetMetadataRequest, GetMetadataResponse
from smtpconnector.v1.connector_service_pb2_grpc import ConnectorServiceStub
from smtpconnector.v1.delivery_service_pb2_grpc import DeliveryServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
    from datetime import datetime, timedelta
    from types import TracebackType

    import grpc.aio
    from typing_extensions import Self

    from smtpconnector._struct import JSON
    from smtpconnector.channel import Metadata, Tls
    from smtpconnector.config import Config, Template
    from smtpconnector.v1.connector_service_pb2_grpc import ConnectorServiceAsyncStub
    from smtpconnector.v1.delivery_service_pb2 import ListDeliveriesRequest
    from smtpconnector.v1.delivery_service_pb2_grpc import DeliveryServiceAsyncStub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class AsyncClient:
    """Sends mail through a smtpconnector service, for asyncio. It belongs to the event loop that first uses it.

    Args and errors are those of :class:`Client`. Cancelling a task that waits for ``send_message`` raises
    ``asyncio.CancelledError`` as usual, and leaves open whether the mail was sent.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        token: str | Callable[[], str] | None = None,
        insecure: bool = False,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._endpoint = Endpoint.of(target, tls=tls, token=token, insecure=insecure, timeout=timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        if self._channel is not None:
            await self._channel.close()

    async def send_message(  # noqa: PLR0913 - the fields of the contract's request
        self,
        to: str,
        type: str,  # noqa: A002 - the contract's name
        payload: Mapping[str, JSON] | None = None,
        *,
        config: Config | None = None,
        template: Template | None = None,
        client_ip: str = "",
        validate_only: bool = False,
        request_id: str = "",
        delivery_mode: DeliveryMode = DeliveryMode.WAIT,
        expire_time: datetime | None = None,
        expire_in: timedelta | None = None,
        supersede_key: str = "",
        uncertain_policy: UncertainPolicy = UncertainPolicy.HOLD,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> SentMessage:
        """Send one mail to one recipient; see :meth:`.Client.send_message`."""
        request = send_message_request(
            to,
            type,
            payload,
            config=config,
            template=template,
            client_ip=client_ip,
            validate_only=validate_only,
            wish=DeliveryWish(request_id, delivery_mode, expire_time, expire_in, supersede_key, uncertain_policy),
        )
        sending = Sending(self._endpoint.deadline(timeout), is_repeatable=is_repeatable(request))
        while True:
            try:
                return sent_message(
                    await self._call(
                        self._stub().SendMessage,
                        request,
                        sending.seconds_left,
                        metadata,
                        may_send=not validate_only,
                        is_repeatable=sending.is_repeatable,
                    )
                )
            except SmtpConnectorError as error:
                pause = sending.pause_after(error)
            await asyncio.sleep(pause)

    async def validate_config(
        self,
        config: Config | None = None,
        *,
        depth: Depth = Depth.SCHEMA,
        to: str = "",
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> ConfigReport:
        """Check a configuration; see :meth:`.Client.validate_config`."""
        request = validate_config_request(config, depth, to)
        return config_report(await self._call(self._stub().ValidateConfig, request, timeout, metadata))

    async def get_metadata(
        self,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> GetMetadataResponse:
        """Ask what the service is; see :meth:`.Client.get_metadata`."""
        return await self._call(self._stub().GetMetadata, GetMetadataRequest(), timeout, metadata)

    async def get_delivery(
        self, delivery_id: str = "", *, request_id: str = "", timeout: float | None = None, metadata: Metadata = ()
    ) -> Delivery:
        """Ask what became of a mail; see :meth:`.Client.get_delivery`."""
        request = get_request(delivery_id, request_id)
        response = await self._call(self._deliveries().GetDelivery, request, timeout, metadata)
        return delivery_from(response.delivery)

    def watch_delivery(
        self,
        delivery_id: str = "",
        *,
        request_id: str = "",
        cursor: int = 0,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> AsyncGenerator[DeliveryChange, None]:
        """Tell every change of a mail's state; see :meth:`.Client.watch_delivery`."""
        watch_request(delivery_id, request_id, cursor)
        return self._watch(delivery_id, request_id, cursor, Attempts(self._endpoint.deadline(timeout)), metadata)

    def list_deliveries(
        self,
        *,
        states: Iterable[DeliveryState] = (),
        profile: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> AsyncGenerator[Delivery, None]:
        """List mails; see :meth:`.Client.list_deliveries`."""
        request = list_request(states, profile, created_after, created_before)
        return self._pages(request, self._endpoint.deadline(timeout), metadata)

    async def cancel_delivery(
        self, delivery_id: str = "", *, request_id: str = "", timeout: float | None = None, metadata: Metadata = ()
    ) -> Delivery:
        """Cancel a mail that has not left yet; see :meth:`.Client.cancel_delivery`."""
        request = cancel_request(delivery_id, request_id)
        response = await self._call(self._deliveries().CancelDelivery, request, timeout, metadata)
        return delivery_from(response.delivery)

    async def resolve_delivery(
        self, delivery_id: str, resolution: Resolution, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> Delivery:
        """Decide what becomes of a held mail; see :meth:`.Client.resolve_delivery`."""
        request = resolve_request(delivery_id, resolution)
        return delivery_from(
            (await self._call(self._deliveries().ResolveDelivery, request, timeout, metadata)).delivery
        )

    async def _watch(
        self, delivery_id: str, request_id: str, cursor: int, attempts: Attempts, metadata: Metadata
    ) -> AsyncGenerator[DeliveryChange, None]:
        while True:
            watch = self._deliveries().WatchDelivery(
                watch_request(delivery_id, request_id, cursor),
                timeout=attempts.seconds_left,
                metadata=self._endpoint.metadata(metadata),
            )
            try:
                async for said in watch:
                    cursor = said.cursor
                    attempts.succeeded()
                    yield change_from(said)
            except RpcError as error:
                pause = pause_of_watch(attempts, error_from(error, may_send=False))
            else:
                return
            finally:
                watch.cancel()
            await asyncio.sleep(pause)

    async def _pages(
        self, request: ListDeliveriesRequest, timeout: float, metadata: Metadata
    ) -> AsyncGenerator[Delivery, None]:
        while True:
            page = await self._call(self._deliveries().ListDeliveries, request, timeout, metadata)
            for said in page.deliveries:
                yield delivery_from(said)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _stub(self) -> ConnectorServiceAsyncStub:
        return ConnectorServiceStub(self._open())

    def _deliveries(self) -> DeliveryServiceAsyncStub:
        return DeliveryServiceStub(self._open())

    def _open(self) -> grpc.aio.Channel:
        # A channel of grpc.aio belongs to one loop for its whole life, so it is made inside the first one.
        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._loop, self._channel = loop, self._endpoint.open_in_loop()
        if self._loop is not loop:
            raise RuntimeError("this AsyncClient belongs to another event loop: make one in each loop")
        return self._channel

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,
        metadata: Metadata,
        *,
        may_send: bool = False,
        is_repeatable: bool = False,
    ) -> _Response:
        endpoint = self._endpoint
        try:
            return await method(request, timeout=endpoint.deadline(timeout), metadata=endpoint.metadata(metadata))
        except RpcError as error:
            raise error_from(error, may_send=may_send, is_repeatable=is_repeatable) from error
