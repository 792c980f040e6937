"""A stand-in for the service, for the unit tests of those who call it: records messages, sends none, fails when told.

It is a real gRPC server in threads of this process, so that what a test proves is true of the network too::

    with FakeConnector() as connector, Client(connector.address) as client:
        connector.fail_next("SMTP_RECIPIENT_REJECTED")
        ...
        assert connector.messages[0].payload == {"code": "123456"}

No SMTP server and no configuration is needed: every profile exists and every template.
"""
# ruff: noqa: N802, ARG002 - names and arguments of the methods are the contract's

from __future__ import annotations

import threading
from collections import deque
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.json_format import MessageToDict

from smtpconnector._fake_failure import CODE_OF_REASON, HOST, FakeFailure, abort
from smtpconnector._fake_store import FakeStore, needs_store
from smtpconnector.delivery import DeliveryState
from smtpconnector.errors import Outcome
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc, delivery_pb2, delivery_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector.v1.delivery_service_pb2 import Delivery

__all__ = ["FakeConnector", "RecordedMessage"]

_SENT = frozenset({delivery_pb2.DELIVERY_STATE_UNSPECIFIED, delivery_pb2.DELIVERY_STATE_SENT})
_OUTCOMES = {DeliveryState.REJECTED: Outcome.REJECTED, DeliveryState.UNKNOWN: Outcome.UNKNOWN}
_UNCERTAIN = frozenset({"DELIVERY_UNCERTAIN", "DELIVERY_PENDING"})


@dataclass(frozen=True)
class RecordedMessage:
    """A message that a caller asked to send."""

    to: str
    type: str
    payload: Mapping[str, Any]
    profile: str
    """The profile's name; ``default`` when the call named none; empty when it brought a configuration."""
    request: pb.SendMessageRequest
    """The request as it came."""


class FakeConnector(connector_service_pb2_grpc.ConnectorServiceServicer):
    """A service that records instead of sending, on a free port of 127.0.0.1 while its context is open.

    It has a store, in memory: ``request_id``, ENQUEUE, ``get_delivery`` and the like work. Every caller is an operator.

    Args:
        holds_queue: Whether mails of ENQUEUE stay QUEUED until :meth:`end_delivery`. False: they are SENT at once.

    Attributes:
        messages: What was "sent", or accepted with ENQUEUE, oldest first; once for each ``request_id``. A message that
            was told to fail is not among them, except with DELIVERY_UNCERTAIN or DELIVERY_PENDING: it may have arrived.
    """

    def __init__(self, *, holds_queue: bool = False) -> None:
        self.messages: list[RecordedMessage] = []
        self._holds_queue = holds_queue
        self._failures: deque[FakeFailure] = deque()
        self._lock = threading.Lock()
        self._store = FakeStore()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
        delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(self._store, self._server)
        connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        """HOST:PORT."""

    def fail_next(
        self,
        reason: str,
        *,
        times: int = 1,
        outcome: Outcome | None = None,
        violations: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Let the next calls of SendMessage fail. The client's own retries count as calls.

        Args:
            reason: A reason of the contract, such as ``SMTP_AUTH_FAILED``.
            times: How many calls.
            outcome: What is true of the message. None: UNKNOWN for DELIVERY_UNCERTAIN and DELIVERY_PENDING, else
                NOT_SENT.
            violations: Field to description.
            retry_after: Seconds.

        Raises:
            ValueError: There is no such reason.
        """
        if reason not in CODE_OF_REASON:
            raise ValueError(f"there is no reason {reason!r}; see error_reason.proto")
        if outcome is None:
            outcome = Outcome.UNKNOWN if reason in _UNCERTAIN else Outcome.NOT_SENT
        with self._lock:
            self._failures.extend([FakeFailure(reason, outcome, violations or {}, retry_after)] * times)

    def __enter__(self) -> FakeConnector:  # noqa: PYI034 - Self is newer than Python 3.10
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop(None).wait()

    def end_delivery(self, delivery_id: str, state: DeliveryState = DeliveryState.SENT, reason: str = "") -> None:
        """Say what became of a mail that is in the store; who watches it is told.

        Args:
            delivery_id: Its :attr:`~smtpconnector.SentMessage.delivery_id`.
            state: The state that begins now.
            reason: Why, such as ``SMTP_RECIPIENT_REJECTED``; empty for none.

        Raises:
            KeyError: There is none of this id.
            ValueError: There is no such reason.
        """
        if reason and reason not in CODE_OF_REASON:
            raise ValueError(f"there is no reason {reason!r}; see error_reason.proto")
        outcome = _OUTCOMES.get(state, Outcome.NOT_SENT)
        number = delivery_pb2.DeliveryState.Value(f"DELIVERY_STATE_{state.value}")
        self._store.end(delivery_id, number, FakeFailure(reason, outcome) if reason else None)

    def SendMessage(self, request: pb.SendMessageRequest, context: grpc.ServicerContext) -> pb.SendMessageResponse:
        """Record the message, or fail."""
        with self._lock:
            return self._answer(request, context)

    def _answer(self, request: pb.SendMessageRequest, context: grpc.ServicerContext) -> pb.SendMessageResponse:
        try:
            kept = None if request.validate_only else self._store.find(request)
        except KeyError:
            violations = {"request_id": "It has served for another request."}
            abort(context, FakeFailure("REQUEST_ID_CONFLICT", Outcome.NOT_SENT, violations))
        if kept is not None:
            if kept.failure is not None and not _is_enqueued(request):
                abort(context, kept.failure)
            return _response(request, kept.delivery.message_id, kept.delivery)
        failure = self._failures.popleft() if self._failures else None
        is_recorded = (failure is None or failure.outcome is Outcome.UNKNOWN) and not request.validate_only
        if is_recorded:
            self.messages.append(_recorded(request))
        message_id = f"<{len(self.messages)}@{HOST}>"
        delivery = self._kept(request, message_id, failure) if is_recorded and needs_store(request) else None
        if failure is not None:
            abort(context, failure)
        return _response(request, message_id, delivery)

    def _kept(self, request: pb.SendMessageRequest, message_id: str, failure: FakeFailure | None) -> Delivery:
        delivery = self._store.accept(request, message_id).delivery
        if failure is not None and failure.reason == "DELIVERY_UNCERTAIN":
            self._store.end(delivery.id, delivery_pb2.DELIVERY_STATE_UNKNOWN, failure)
        elif not (self._holds_queue and _is_enqueued(request)):
            self._store.end(delivery.id, delivery_pb2.DELIVERY_STATE_SENT, None)
        return delivery

    def ValidateConfig(
        self, request: pb.ValidateConfigRequest, context: grpc.ServicerContext
    ) -> pb.ValidateConfigResponse:
        """Find every configuration valid."""
        return pb.ValidateConfigResponse(valid=True)

    def GetMetadata(self, request: pb.GetMetadataRequest, context: grpc.ServicerContext) -> pb.GetMetadataResponse:
        """Tell who it pretends to be."""
        return pb.GetMetadataResponse(id="simple-mail-transfer-protocol", target="smtp", server_version="fake")


def _is_enqueued(request: pb.SendMessageRequest) -> bool:
    return request.delivery_mode == delivery_pb2.DELIVERY_MODE_ENQUEUE


def _response(request: pb.SendMessageRequest, message_id: str, delivery: Delivery | None) -> pb.SendMessageResponse:
    response = pb.SendMessageResponse(message_id=message_id, usage_type=request.type, host=HOST, attempts=1)
    if delivery is not None:
        response.delivery_id, response.state = delivery.id, delivery.state
        response.attempts = delivery.attempts
    if not request.validate_only and response.state in _SENT:
        response.reply.code = 250
        response.reply.enhanced_code = "2.0.0"
        response.reply.text = "Recorded"
    return response


def _recorded(request: pb.SendMessageRequest) -> RecordedMessage:
    source = request.config.WhichOneof("source")
    profile = (request.config.profile or "default") if source in {None, "profile"} else ""
    return RecordedMessage(request.to, request.type, MessageToDict(request.payload), profile, request)
