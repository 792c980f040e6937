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
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from smtpconnector.errors import Outcome
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FakeConnector", "RecordedMessage"]

_DOMAIN = "smtpconnector.v1"
_HOST = "fake.smtp.invalid"
_CODES: dict[StatusCode, tuple[str, ...]] = {
    StatusCode.INVALID_ARGUMENT: (
        "INVALID_REQUEST",
        "INVALID_CONFIG",
        "TEMPLATE_NOT_FOUND",
        "SMTP_MESSAGE_TOO_LARGE",
        "SMTP_RECIPIENT_REJECTED",
    ),
    StatusCode.NOT_FOUND: ("PROFILE_NOT_FOUND", "DELIVERY_NOT_FOUND"),
    StatusCode.ALREADY_EXISTS: ("REQUEST_ID_CONFLICT",),
    StatusCode.ABORTED: ("DELIVERY_CANCELLED", "DELIVERY_SUPERSEDED"),
    StatusCode.UNIMPLEMENTED: ("NOT_IMPLEMENTED",),
    StatusCode.UNAUTHENTICATED: ("UNAUTHENTICATED",),
    StatusCode.PERMISSION_DENIED: ("PERMISSION_DENIED", "EGRESS_DENIED"),
    StatusCode.RESOURCE_EXHAUSTED: ("SERVICE_OVERLOADED", "LOCAL_RATE_LIMITED", "SMTP_RATE_LIMITED"),
    StatusCode.DEADLINE_EXCEEDED: ("DEADLINE_EXCEEDED", "DELIVERY_PENDING", "DELIVERY_EXPIRED"),
    StatusCode.CANCELLED: ("CANCELLED",),
    StatusCode.INTERNAL: ("INTERNAL", "SMTP_PROTOCOL_ERROR"),
    StatusCode.UNKNOWN: ("DELIVERY_UNCERTAIN",),
    StatusCode.FAILED_PRECONDITION: (
        "SMTP_DNS_NOT_FOUND",
        "SMTP_CONNECTION_REJECTED",
        "SMTP_TLS_CERTIFICATE_INVALID",
        "SMTP_TLS_PROTOCOL_MISMATCH",
        "SMTP_TLS_REQUIRED",
        "SMTP_TLS_REQUIRED_FOR_AUTH",
        "SMTP_AUTH_UNSUPPORTED",
        "SMTP_AUTH_FAILED",
        "SMTP_AUTH_REQUIRED",
        "OAUTH2_TOKEN_REJECTED",
        "SMTP_SENDER_REJECTED",
        "SMTP_SMTPUTF8_UNSUPPORTED",
        "SMTP_MAILBOX_UNAVAILABLE",
        "SMTP_POLICY_REJECTED",
        "SMTP_MESSAGE_REJECTED",
        "DELIVERY_STATE_CONFLICT",
    ),
    StatusCode.UNAVAILABLE: (
        "SHUTTING_DOWN",
        "SMTP_DNS_TEMPORARY",
        "SMTP_CONNECT_FAILED",
        "SMTP_CONNECT_TIMEOUT",
        "SMTP_GREETING_TIMEOUT",
        "SMTP_SERVICE_UNAVAILABLE",
        "SMTP_CONNECTION_LOST",
        "SMTP_TLS_TEMPORARY",
        "SMTP_AUTH_TEMPORARY",
        "OAUTH2_ENDPOINT_UNAVAILABLE",
        "SMTP_SENDER_DEFERRED",
        "SMTP_RECIPIENT_DEFERRED",
        "SMTP_MESSAGE_DEFERRED",
        "STORE_UNAVAILABLE",
    ),
}
CODE_OF_REASON: dict[str, StatusCode] = {reason: code for code, reasons in _CODES.items() for reason in reasons}
"""The status code of each reason, as ``error_reason.proto`` has it."""

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


@dataclass(frozen=True)
class _Failure:
    reason: str
    outcome: Outcome
    violations: Mapping[str, str]
    retry_after: float | None


class FakeConnector(connector_service_pb2_grpc.ConnectorServiceServicer):
    """A service that records instead of sending, on a free port of 127.0.0.1 while its context is open.

    Attributes:
        messages: What was "sent", oldest first. A message that was told to fail is not among them, except with
            DELIVERY_UNCERTAIN: that one may have arrived.
    """

    def __init__(self) -> None:
        self.messages: list[RecordedMessage] = []
        self._failures: deque[_Failure] = deque()
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
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
            self._failures.extend([_Failure(reason, outcome, violations or {}, retry_after)] * times)

    def __enter__(self) -> FakeConnector:  # noqa: PYI034 - Self is newer than Python 3.10
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop(None).wait()

    def SendMessage(self, request: pb.SendMessageRequest, context: grpc.ServicerContext) -> pb.SendMessageResponse:
        """Record the message, or fail."""
        with self._lock:
            failure = self._failures.popleft() if self._failures else None
            if (failure is None or failure.outcome is Outcome.UNKNOWN) and not request.validate_only:
                self.messages.append(_recorded(request))
            number = len(self.messages)
        if failure is not None:
            _abort(context, failure)
        response = pb.SendMessageResponse(
            message_id=f"<{number}@{_HOST}>", usage_type=request.type, host=_HOST, attempts=1
        )
        if not request.validate_only:
            response.reply.code = 250
            response.reply.enhanced_code = "2.0.0"
            response.reply.text = "Recorded"
        return response

    def ValidateConfig(
        self, request: pb.ValidateConfigRequest, context: grpc.ServicerContext
    ) -> pb.ValidateConfigResponse:
        """Find every configuration valid."""
        return pb.ValidateConfigResponse(valid=True)

    def GetMetadata(self, request: pb.GetMetadataRequest, context: grpc.ServicerContext) -> pb.GetMetadataResponse:
        """Tell who it pretends to be."""
        return pb.GetMetadataResponse(id="simple-mail-transfer-protocol", target="smtp", server_version="fake")


def _recorded(request: pb.SendMessageRequest) -> RecordedMessage:
    source = request.config.WhichOneof("source")
    profile = (request.config.profile or "default") if source in {None, "profile"} else ""
    return RecordedMessage(request.to, request.type, MessageToDict(request.payload), profile, request)


def _abort(context: grpc.ServicerContext, failure: _Failure) -> None:
    code = CODE_OF_REASON[failure.reason]
    status = status_pb2.Status(code=code.value[0], message=f"The test wants {failure.reason}.")
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=_DOMAIN)
    info.metadata["outcome"] = failure.outcome.value
    info.metadata["host"] = _HOST
    status.details.add().Pack(info)
    if failure.violations:
        bad_request = error_details_pb2.BadRequest()
        for field, description in failure.violations.items():
            bad_request.field_violations.add(field=field, description=description)
        status.details.add().Pack(bad_request)
    if failure.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(failure.retry_after * 1000))
        status.details.add().Pack(retry)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, status.message)
