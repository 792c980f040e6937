"""ConnectorService: each method maps its request, asks the inner rooms and maps their answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, cast

from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc
from smtpconnector_server.delivery.check import check
from smtpconnector_server.delivery.composition import compose
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.outbox.order import Wanted
from smtpconnector_server.rpc import mapping, order_mapping
from smtpconnector_server.rpc.callers import CALLER
from smtpconnector_server.rpc.configurations import to_source
from smtpconnector_server.rpc.events import MailComposed
from smtpconnector_server.rpc.order_mapping import expiring, to_order
from smtpconnector_server.smtp.course import Depth
from smtpconnector_server.store.state import Mode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import grpc

    from smtpconnector_server.config.origin import Origin
    from smtpconnector_server.delivery.composition import Composed, MailRequest
    from smtpconnector_server.delivery.prepared import Prepared
    from smtpconnector_server.delivery.sender import Sender
    from smtpconnector_server.failure import Violation
    from smtpconnector_server.outbox.order import Order
    from smtpconnector_server.outbox.outbox import Outbox
    from smtpconnector_server.rpc.configurations import Configurations
    from smtpconnector_server.rpc.events import CallHook
    from smtpconnector_server.rpc.limits import Limits
    from smtpconnector_server.smtp.probe import Probe

    Context = grpc.aio.ServicerContext[Any, Any]

_MAX_SECONDS: Final = 120.0
"""For a caller who sets no deadline, or a longer one."""
_MAX_CHECK_SECONDS: Final = 30.0
"""The same for a check: somebody waits for it at a form."""
_COMMITTED: Final = (("smtpconnector-committed", "1"),)
"""Initial metadata of a call whose mail may have left; without them, in the order of the stream, it has not."""
_ANSWER_MARGIN_SECONDS: Final = 0.25
_ANSWER_MARGIN_SHARE: Final = 0.1


class ConnectorServicer(connector_service_pb2_grpc.ConnectorServiceServicer):
    """The service's methods."""

    def __init__(
        self,
        configurations: Configurations,
        sender: Sender,
        probes: Mapping[Origin, Probe],
        limits: Limits,
        outbox: Outbox | None,
        metadata: pb.GetMetadataResponse,
        hook: CallHook,
    ) -> None:
        self._configurations = configurations
        self._sender = sender
        self._probes = probes
        self._limits = limits
        self._outbox = outbox
        self._metadata = metadata
        self._hook = hook

    async def GetMetadata(self, request: pb.GetMetadataRequest, context: Context) -> pb.GetMetadataResponse:  # noqa: ARG002, N802 - the contract's
        """Tell what the connector is."""
        return self._metadata

    async def ValidateConfig(self, request: pb.ValidateConfigRequest, context: Context) -> pb.ValidateConfigResponse:  # noqa: N802 - the contract's
        """Tell everything that is wrong with a configuration."""
        caller = CALLER.get()
        with self._limits.call(caller.name):
            within = _seconds_to_answer(context, at_most=_MAX_CHECK_SECONDS)
            started = time.monotonic()
            depth, recipient = mapping.to_depth(request)
            configuration = self._configurations.find(request.config, caller)
            seconds_read = time.monotonic() - started
            if depth >= Depth.AUTHENTICATE:  # or checks would try passwords and recipients without a limit
                within -= await self._limits.count_mail(recipient, client_ip="", profile=configuration.profile)
            verdict = await check(
                configuration.checked,
                depth,
                probe=self._probes[configuration.origin],
                seconds_read=seconds_read,
                within=within - seconds_read,
                recipient=recipient,
                is_typed=request.config.HasField("smtp"),
            )
            return mapping.to_validate_response(configuration.checked.connector, verdict)

    async def SendMessage(self, request: pb.SendMessageRequest, context: Context) -> pb.SendMessageResponse:  # noqa: N802 - the contract's
        """Send one mail."""
        caller = CALLER.get()
        with self._limits.call(caller.name):
            within = _seconds_to_answer(context, at_most=_MAX_SECONDS)
            violations: list[Violation] = []
            order = to_order(request, violations)
            mail_request = mapping.to_mail_request(request, violations)
            configuration = self._configurations.find(request.config, caller)
            prepared = configuration.require()
            if order.needs_store and not request.validate_only:
                wanted = self._wanted(request, order, mail_request, prepared)
                return await self._send_durably(wanted, within, context)
            composed = await self._compose(mail_request, prepared)
            if request.validate_only:
                return mapping.to_send_response(composed)
            within -= await self._limits.count_mail(
                mail_request.to, client_ip=request.client_ip, profile=configuration.profile
            )
            with expiring(order, within) as left:
                sent = await self._sender.send(composed, within=left, on_commit=_once(context))
            return mapping.to_send_response(composed, sent)

    async def _compose(self, mail_request: MailRequest, prepared: Prepared, message_id: str | None = None) -> Composed:
        started = time.monotonic()
        composed = await compose(mail_request, prepared, message_id)
        self._hook(MailComposed(composed, time.monotonic() - started))
        return composed

    async def _send_durably(self, wanted: Wanted, within: float, context: Context) -> pb.SendMessageResponse:
        if self._outbox is None:
            raise order_mapping.needs_store(wanted.order)
        if wanted.order.mode is Mode.ENQUEUE:
            if not wanted.order.request_id:  # else a repeat is known for one
                await _forbid_repetition(context)
            receipt = await self._outbox.enqueue(wanted, within=within)
        else:
            receipt = await self._outbox.send(wanted, within=within, on_commit=_once(context))
        return order_mapping.to_receipt_response(receipt)

    def _wanted(
        self, request: pb.SendMessageRequest, order: Order, mail_request: MailRequest, prepared: Prepared
    ) -> Wanted:
        is_counted = False

        async def admit() -> None:
            nonlocal is_counted
            if not is_counted:
                await self._limits.count_mail(mail_request.to, client_ip=request.client_ip, profile=prepared.profile)
                is_counted = True

        return Wanted(
            order=order,
            caller=CALLER.get().name,
            source=to_source(request.config),
            content=order_mapping.content(request),
            compose=lambda message_id: self._compose(mail_request, prepared, message_id),
            admit=admit,
        )


def _once(context: Context) -> Callable[[], Awaitable[None]]:
    """Return what forbids the repetition of a call once, however many attempts it comes to make."""
    is_forbidden = False

    async def forbid() -> None:
        nonlocal is_forbidden
        if not is_forbidden:
            await _forbid_repetition(context)
            is_forbidden = True

    return forbid


async def _forbid_repetition(context: Context) -> None:
    """Send the call's initial metadata, for the mail is about to leave, or to be accepted.

    Until a client has seen them, its gRPC library may send the call once more when the connection breaks, by itself or
    by a retry policy for UNAVAILABLE, and the mail would go out twice. Afterwards it may not (gRFC A6).

    Raises:
        Failure: CANCELLED; the caller has gone.
    """
    try:
        await context.send_initial_metadata(_COMMITTED)
    except Exception as error:
        raise Failure(Reason.CANCELLED, "The caller has gone before the message was sent.", stage=Stage.DATA) from error


def _seconds_to_answer(context: Context, *, at_most: float) -> float:
    """Return how long the work may take, so that the caller hears the answer before his own deadline."""
    remaining = cast("float | None", context.time_remaining())  # the stub does not know of calls without a deadline
    if remaining is None:
        return at_most
    margin = min(_ANSWER_MARGIN_SECONDS, remaining * _ANSWER_MARGIN_SHARE)
    return max(0.0, min(remaining - margin, at_most))
