"""The client for threads; :class:`~smtpconnector.async_client.AsyncClient` differs from it only in waiting."""

from __future__ import annotations

import time
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
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime, timedelta
    from types import TracebackType

    import grpc
    from typing_extensions import Self

    from smtpconnector._struct import JSON
    from smtpconnector.channel import Metadata, Tls
    from smtpconnector.config import Config, Template
    from smtpconnector.v1.delivery_service_pb2 import ListDeliveriesRequest

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
        self._deliveries = DeliveryServiceStub(self._channel)

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
        delivery_mode: DeliveryMode = DeliveryMode.WAIT,
        expire_time: datetime | None = None,
        expire_in: timedelta | None = None,
        supersede_key: str = "",
        uncertain_policy: UncertainPolicy = UncertainPolicy.HOLD,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> SentMessage:
        """Send one mail to one recipient; return when the SMTP server has accepted it, or with ENQUEUE, the service.

        Args:
            to: The recipient: one address without a name.
            type: What the mail is for, such as :attr:`UsageType.SIGN_IN`; it picks the template.
            payload: Values for the template's placeholders: JSON.
            config: What to send with. None: the service's profile ``default``.
            template: A template that wins over the configuration's.
            client_ip: The IP address of the user who caused the mail, for the operator's limits.
            validate_only: Make every check and compose the mail, but send nothing.
            request_id: Makes the call safe to repeat: however often it comes, one mail is sent. A UUID does well. The
                client then repeats by itself, within ``timeout``, what broke on the way. Needs a service with a store.
            delivery_mode: What to wait for. ENQUEUE needs a service with a store.
            expire_time: After which the mail is useless and never leaves, such as the end of its code; an aware time.
            expire_in: The same, counted from now. Give one of them.
            supersede_key: Cancels your older mails with the same key that have not left yet. Needs a service with a
                store.
            uncertain_policy: What becomes of the mail when the SMTP server's reply to it is lost. RESEND needs a
                service with a store.
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            DeliveryUncertain: The mail may or may not have been sent. With a ``request_id`` it may be its child
                :class:`DeliveryPending`: then the same call tells later.
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
            wish=DeliveryWish(request_id, delivery_mode, expire_time, expire_in, supersede_key, uncertain_policy),
        )
        sending = Sending(self._endpoint.deadline(timeout), is_repeatable=is_repeatable(request))
        while True:
            try:
                return sent_message(
                    self._call(
                        self._stub.SendMessage,
                        request,
                        sending.seconds_left,
                        metadata,
                        may_send=not validate_only,
                        is_repeatable=sending.is_repeatable,
                    )
                )
            except SmtpConnectorError as error:
                pause = sending.pause_after(error)
            time.sleep(pause)

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
        return config_report(self._call(self._stub.ValidateConfig, request, timeout, metadata))

    def get_metadata(self, *, timeout: float | None = None, metadata: Metadata = ()) -> GetMetadataResponse:
        """Ask what the service is and what its configuration looks like.

        Args:
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            SmtpConnectorError: There was no answer.
            ValueError: ``timeout`` or the token cannot be used.
        """
        return self._call(self._stub.GetMetadata, GetMetadataRequest(), timeout, metadata)

    def get_delivery(
        self, delivery_id: str = "", *, request_id: str = "", timeout: float | None = None, metadata: Metadata = ()
    ) -> Delivery:
        """Ask what became of a mail that the service keeps.

        Args:
            delivery_id: Its :attr:`SentMessage.delivery_id`. Give it or ``request_id``.
            request_id: The one it was sent with.
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            DeliveryNotFound: The service keeps no such mail of yours.
            SmtpConnectorError: It cannot be told.
            ValueError: ``timeout`` or the token cannot be used.
        """
        request = get_request(delivery_id, request_id)
        return delivery_from(self._call(self._deliveries.GetDelivery, request, timeout, metadata).delivery)

    def watch_delivery(
        self,
        delivery_id: str = "",
        *,
        request_id: str = "",
        cursor: int = 0,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Iterator[DeliveryChange]:
        """Tell every change of a mail's state, those of the past first, until the state is final.

        A watch that breaks, because a server stops or a connection does, goes on where it was.

        Args:
            delivery_id: Its :attr:`SentMessage.delivery_id`. Give it or ``request_id``.
            request_id: The one it was sent with.
            cursor: That of the last change that you have seen. 0: tell all of them.
            timeout: Seconds that it may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            DeadlineExceeded: The state is not final by the timeout.
            DeliveryNotFound: The service keeps no such mail of yours.
            SmtpConnectorError: It cannot be told.
            ValueError: ``timeout`` or the token cannot be used.
        """
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
    ) -> Iterator[Delivery]:
        """List the mails that the service keeps of yours, the newest first; an operator's list is of everybody's.

        Args:
            states: Those to list. Empty: all.
            profile: The profile to list. Empty: all.
            created_after: List mails accepted at this time or later; an aware time.
            created_before: List mails accepted before this time; an aware time.
            timeout: Seconds that each page may take. None: the client's.
            metadata: More metadata for the calls.

        Raises:
            SmtpConnectorError: They cannot be listed.
            ValueError: ``timeout`` or the token cannot be used.
        """
        request = list_request(states, profile, created_after, created_before)
        return self._pages(request, self._endpoint.deadline(timeout), metadata)

    def cancel_delivery(
        self, delivery_id: str = "", *, request_id: str = "", timeout: float | None = None, metadata: Metadata = ()
    ) -> Delivery:
        """Cancel a mail that has not left yet. Cancelling it again succeeds again.

        Args:
            delivery_id: Its :attr:`SentMessage.delivery_id`. Give it or ``request_id``.
            request_id: The one it was sent with.
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            DeliveryStateConflict: It has left, or may have.
            DeliveryNotFound: The service keeps no such mail of yours.
            SmtpConnectorError: It was not cancelled.
            ValueError: ``timeout`` or the token cannot be used.
        """
        request = cancel_request(delivery_id, request_id)
        return delivery_from(self._call(self._deliveries.CancelDelivery, request, timeout, metadata).delivery)

    def resolve_delivery(
        self, delivery_id: str, resolution: Resolution, *, timeout: float | None = None, metadata: Metadata = ()
    ) -> Delivery:
        """Decide what becomes of a held mail; for operators.

        Args:
            delivery_id: Its name in the store.
            resolution: What becomes of it.
            timeout: Seconds that the call may take. None: the client's.
            metadata: More metadata for the call.

        Raises:
            DeliveryStateConflict: It is not held.
            PermissionDenied: You are no operator.
            SmtpConnectorError: It was not decided, or nobody can know.
            ValueError: ``timeout`` or the token cannot be used.
        """
        request = resolve_request(delivery_id, resolution)
        return delivery_from(self._call(self._deliveries.ResolveDelivery, request, timeout, metadata).delivery)

    def _watch(
        self, delivery_id: str, request_id: str, cursor: int, attempts: Attempts, metadata: Metadata
    ) -> Iterator[DeliveryChange]:
        while True:
            watch = self._deliveries.WatchDelivery(
                watch_request(delivery_id, request_id, cursor),
                timeout=attempts.seconds_left,
                metadata=self._endpoint.metadata(metadata),
            )
            try:
                for said in watch:
                    cursor = said.cursor
                    attempts.succeeded()
                    yield change_from(said)
            except RpcError as error:
                pause = pause_of_watch(attempts, error_from(error, may_send=False))
            else:
                return
            finally:
                watch.cancel()
            time.sleep(pause)

    def _pages(self, request: ListDeliveriesRequest, timeout: float, metadata: Metadata) -> Iterator[Delivery]:
        while True:
            page = self._call(self._deliveries.ListDeliveries, request, timeout, metadata)
            yield from map(delivery_from, page.deliveries)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        timeout: float | None,
        metadata: Metadata,
        *,
        may_send: bool = False,
        is_repeatable: bool = False,
    ) -> _Response:
        endpoint = self._endpoint
        try:
            return method(request, timeout=endpoint.deadline(timeout), metadata=endpoint.metadata(metadata))
        except RpcError as error:
            raise error_from(error, may_send=may_send, is_repeatable=is_repeatable) from error
