"""The two clients: :class:`Client` for threads, :class:`AsyncClient` for asyncio. They differ only in waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from grpc import RpcError

from smtpconnector._request import send_message_request, validate_config_request
from smtpconnector._status import error_from
from smtpconnector.channel import DEFAULT_TIMEOUT_SECONDS, Endpoint
from smtpconnector.results import ConfigReport, Depth, SentMessage, config_report, sent_message
from smtpconnector.v1.connector_service_pb2 import GetMetadataRequest, GetMetadataResponse
from smtpconnector.v1.connector_service_pb2_grpc import ConnectorServiceStub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import grpc
    import grpc.aio
    from typing_extensions import Self

    from smtpconnector._struct import JSON
    from smtpconnector.channel import Metadata, Tls
    from smtpconnector.config import Config, Template
    from smtpconnector.v1.connector_service_pb2_grpc import ConnectorServiceAsyncStub

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Client:
    """Sends mail through a smtpconnector service. Thread-safe; keep one per process and service.

    Args:
        target: The service's address as gRPC has it: ``host:port``, ``dns:///host:port``, ``unix:/path``.
        tls: TLS to the service. Without it TLS with the usual roots is used, except for a loopback address or a Unix
            socket, which are spoken to in the clear.
        token: The bearer token to show, or a function that returns it, which is asked before each call and must not
            block.
        insecure: True speaks in the clear to any address, such as through a mesh that encrypts.
        timeout: Seconds that a call may take, retries included. A call may say otherwise; none waits forever.

    Raises:
        ValueError: The arguments contradict each other, or one is out of range.
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
        self._channel = self._endpoint.open()
        self._stub = ConnectorServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight end."""
        self._channel.close()

    def send_message(  # noqa: PLR0913 - the fields of the contract's request
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
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> SentMessage:
        """Send one mail to one recipient; return when the SMTP server has accepted it.

        Args:
            to: The recipient: one address without a name.
            type: What the mail is for, such as :attr:`UsageType.SIGN_IN`; it picks the template.
            payload: Values for the template's placeholders: JSON.
            config: What to send with. None: the service's profile ``default``.
            template: A template that wins over the configuration's.
            client_ip: The IP address of the user who caused the mail, for the operator's limits.
            validate_only: Make every check and compose the mail, but send nothing.
            request_id: Reserved; the service refuses it until it can keep what it promises.
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            DeliveryUncertain: The mail may or may not have been sent.
            SmtpConnectorError: The mail was not sent; the class says what to do.
            ValueError: ``timeout`` or the token cannot be used.
        """
        request = send_message_request(
            to,
            type,
            payload,
            config=config,
            template=template,
            client_ip=client_ip,
            validate_only=validate_only,
            request_id=request_id,
        )
        response = self._call(self._stub.SendMessage, request, timeout, metadata, may_send=not validate_only)
        return sent_message(response)

    def validate_config(
        self,
        config: Config | None = None,
        *,
        depth: Depth = Depth.SCHEMA,
        to: str = "",
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> ConfigReport:
        """Check a configuration and tell everything that is wrong with it; an invalid one is no error. Sends no mail.

        Args:
            config: What to check. None: the service's profile ``default``.
            depth: How far to go.
            to: The recipient that :attr:`Depth.ENVELOPE` asks about; for no other depth.
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            SmtpConnectorError: The check could not be made.
            ValueError: ``timeout`` or the token cannot be used.
        """
        request = validate_config_request(config, depth, to)
        return config_report(self._call(self._stub.ValidateConfig, request, timeout, metadata, may_send=False))

    def get_metadata(self, *, timeout: float | None = None, metadata: Metadata = ()) -> GetMetadataResponse:
        """Ask what the service is and what its configuration looks like.

        Args:
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            SmtpConnectorError: There was no answer.
            ValueError: ``timeout`` or the token cannot be used.
        """
        return self._call(self._stub.GetMetadata, GetMetadataRequest(), timeout, metadata, may_send=False)

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,
        metadata: Metadata,
        *,
        may_send: bool,
    ) -> _Response:
        endpoint = self._endpoint
        try:
            return method(request, timeout=endpoint.deadline(timeout), metadata=endpoint.metadata(metadata))
        except RpcError as error:
            raise error_from(error, may_send=may_send) from error


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
        self._stub()
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
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> SentMessage:
        """Send one mail to one recipient; see :meth:`Client.send_message`."""
        request = send_message_request(
            to,
            type,
            payload,
            config=config,
            template=template,
            client_ip=client_ip,
            validate_only=validate_only,
            request_id=request_id,
        )
        response = await self._call(self._stub().SendMessage, request, timeout, metadata, may_send=not validate_only)
        return sent_message(response)

    async def validate_config(
        self,
        config: Config | None = None,
        *,
        depth: Depth = Depth.SCHEMA,
        to: str = "",
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> ConfigReport:
        """Check a configuration; see :meth:`Client.validate_config`."""
        request = validate_config_request(config, depth, to)
        return config_report(await self._call(self._stub().ValidateConfig, request, timeout, metadata, may_send=False))

    async def get_metadata(
        self,
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> GetMetadataResponse:
        """Ask what the service is; see :meth:`Client.get_metadata`."""
        return await self._call(self._stub().GetMetadata, GetMetadataRequest(), timeout, metadata, may_send=False)

    def _stub(self) -> ConnectorServiceAsyncStub:
        # A channel of grpc.aio belongs to one loop for its whole life, so it is made inside the first one.
        loop = asyncio.get_running_loop()
        if self._channel is None:
            self._loop, self._channel = loop, self._endpoint.open_in_loop()
        if self._loop is not loop:
            raise RuntimeError("this AsyncClient belongs to another event loop: make one in each loop")
        return ConnectorServiceStub(self._channel)

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,
        metadata: Metadata,
        *,
        may_send: bool,
    ) -> _Response:
        endpoint = self._endpoint
        try:
            return await method(request, timeout=endpoint.deadline(timeout), metadata=endpoint.metadata(metadata))
        except RpcError as error:
            raise error_from(error, may_send=may_send) from error
