"""How :class:`smtpconnector.testing.FakeConnector` fails: as the service does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    import grpc

    from smtpconnector.errors import Outcome

HOST = "fake.smtp.invalid"
_DOMAIN = "smtpconnector.v1"
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


@dataclass(frozen=True)
class FakeFailure:
    """An error that a call ends with."""

    reason: str
    outcome: Outcome | None = None
    """None: the call was not to send a mail."""
    violations: Mapping[str, str] = field(default_factory=dict)
    """Field to description."""
    retry_after: float | None = None
    text: str = ""
    """Empty: that the test wants it."""


def abort(context: grpc.ServicerContext, failure: FakeFailure) -> NoReturn:
    """End a call with an error."""
    code = CODE_OF_REASON[failure.reason]
    status = status_pb2.Status(code=code.value[0], message=failure.text or f"The test wants {failure.reason}.")
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=_DOMAIN)
    if failure.outcome is not None:
        info.metadata["outcome"] = failure.outcome.value
    info.metadata["host"] = HOST
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
    raise AssertionError("abort always raises")
