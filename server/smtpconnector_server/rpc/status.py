"""A failure as a gRPC status: the one place that maps the domain's reasons to codes and details.

Every status carries one ``ErrorInfo``; each other detail occurs at most once. All details together stay under 4 KiB,
because gRPC replaces the whole error when its metadata grow past some 16 KiB.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from smtpconnector_server.failure import Failure, Outcome, Reason

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN: Final = "smtpconnector.v1"
_MAX_DETAILS_OCTETS: Final = 4096
_MAX_TEXT_CHARACTERS: Final = 400
_MAX_DESCRIPTION_CHARACTERS: Final = 300

_Code = grpc.StatusCode

CODES: Final[dict[Reason, grpc.StatusCode]] = {
    Reason.INVALID_REQUEST: _Code.INVALID_ARGUMENT,
    Reason.INVALID_CONFIG: _Code.INVALID_ARGUMENT,
    Reason.TEMPLATE_NOT_FOUND: _Code.INVALID_ARGUMENT,
    Reason.PROFILE_NOT_FOUND: _Code.NOT_FOUND,
    Reason.NOT_IMPLEMENTED: _Code.UNIMPLEMENTED,
    Reason.UNAUTHENTICATED: _Code.UNAUTHENTICATED,
    Reason.PERMISSION_DENIED: _Code.PERMISSION_DENIED,
    Reason.EGRESS_DENIED: _Code.PERMISSION_DENIED,
    Reason.SERVICE_OVERLOADED: _Code.RESOURCE_EXHAUSTED,
    Reason.LOCAL_RATE_LIMITED: _Code.RESOURCE_EXHAUSTED,
    Reason.SHUTTING_DOWN: _Code.UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED: _Code.DEADLINE_EXCEEDED,
    Reason.CANCELLED: _Code.CANCELLED,
    Reason.INTERNAL: _Code.INTERNAL,
    Reason.SMTP_DNS_NOT_FOUND: _Code.FAILED_PRECONDITION,
    Reason.SMTP_DNS_TEMPORARY: _Code.UNAVAILABLE,
    Reason.SMTP_CONNECT_FAILED: _Code.UNAVAILABLE,
    Reason.SMTP_CONNECT_TIMEOUT: _Code.UNAVAILABLE,
    Reason.SMTP_GREETING_TIMEOUT: _Code.UNAVAILABLE,
    Reason.SMTP_SERVICE_UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.SMTP_CONNECTION_REJECTED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_CONNECTION_LOST: _Code.UNAVAILABLE,
    Reason.SMTP_TLS_CERTIFICATE_INVALID: _Code.FAILED_PRECONDITION,
    Reason.SMTP_TLS_PROTOCOL_MISMATCH: _Code.FAILED_PRECONDITION,
    Reason.SMTP_TLS_REQUIRED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_TLS_TEMPORARY: _Code.UNAVAILABLE,
    Reason.SMTP_TLS_REQUIRED_FOR_AUTH: _Code.FAILED_PRECONDITION,
    Reason.SMTP_AUTH_UNSUPPORTED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_AUTH_FAILED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_AUTH_TEMPORARY: _Code.UNAVAILABLE,
    Reason.SMTP_AUTH_REQUIRED: _Code.FAILED_PRECONDITION,
    Reason.OAUTH2_TOKEN_REJECTED: _Code.FAILED_PRECONDITION,
    Reason.OAUTH2_ENDPOINT_UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.SMTP_RATE_LIMITED: _Code.RESOURCE_EXHAUSTED,
    Reason.SMTP_SENDER_REJECTED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_SENDER_DEFERRED: _Code.UNAVAILABLE,
    Reason.SMTP_SMTPUTF8_UNSUPPORTED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_MESSAGE_TOO_LARGE: _Code.INVALID_ARGUMENT,
    Reason.SMTP_RECIPIENT_REJECTED: _Code.INVALID_ARGUMENT,
    Reason.SMTP_MAILBOX_UNAVAILABLE: _Code.FAILED_PRECONDITION,
    Reason.SMTP_POLICY_REJECTED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_RECIPIENT_DEFERRED: _Code.UNAVAILABLE,
    Reason.SMTP_MESSAGE_REJECTED: _Code.FAILED_PRECONDITION,
    Reason.SMTP_MESSAGE_DEFERRED: _Code.UNAVAILABLE,
    Reason.SMTP_PROTOCOL_ERROR: _Code.INTERNAL,
    Reason.DELIVERY_UNCERTAIN: _Code.UNKNOWN,
    Reason.REQUEST_ID_CONFLICT: _Code.ALREADY_EXISTS,
    Reason.STORE_UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.DELIVERY_PENDING: _Code.DEADLINE_EXCEEDED,
    Reason.DELIVERY_EXPIRED: _Code.DEADLINE_EXCEEDED,
    Reason.DELIVERY_CANCELLED: _Code.ABORTED,
    Reason.DELIVERY_SUPERSEDED: _Code.ABORTED,
    Reason.DELIVERY_NOT_FOUND: _Code.NOT_FOUND,
    Reason.DELIVERY_STATE_CONFLICT: _Code.FAILED_PRECONDITION,
}
"""UNAVAILABLE only where the message was certainly not sent: standard retry policies rely on it (AIP-194)."""

_LOGTO_CODES: Final[dict[Reason, str]] = {
    Reason.INVALID_REQUEST: "invalid_request_parameters",
    Reason.INVALID_CONFIG: "invalid_config",
    Reason.TEMPLATE_NOT_FOUND: "template_not_found",
    Reason.NOT_IMPLEMENTED: "not_implemented",
    Reason.LOCAL_RATE_LIMITED: "rate_limit_exceeded",
    Reason.SMTP_RATE_LIMITED: "rate_limit_exceeded",
    Reason.SMTP_AUTH_FAILED: "authorization_failed",
    Reason.SMTP_AUTH_REQUIRED: "authorization_failed",
    Reason.OAUTH2_TOKEN_REJECTED: "authorization_failed",
    Reason.SMTP_TLS_CERTIFICATE_INVALID: "invalid_certificate",
    Reason.SMTP_PROTOCOL_ERROR: "invalid_response",
}
_LOGTO_GENERAL: Final = "general"

_RETRY_SECONDS: Final = 1.0
"""The delay named for a retry that is right but of which nothing more is known."""
_RETRY_SECONDS_LIMITED: Final = 30.0
"""The same where a limit was hit."""
_LEAST_RETRY_SECONDS: Final = 1.0
"""What a retry needs of the caller's time to be worth it."""


def retry_seconds(failure: Failure) -> float | None:
    """Return after how many seconds a retry makes sense; None where a retry is not right."""
    if failure.outcome is Outcome.UNKNOWN:
        return None
    match CODES[failure.reason]:
        case _Code.UNAVAILABLE:
            return failure.retry_after or _RETRY_SECONDS
        case _Code.RESOURCE_EXHAUSTED:
            return failure.retry_after or _RETRY_SECONDS_LIMITED
        case _:
            return None


def to_status(failure: Failure, *, is_about_mail: bool = True) -> status_pb2.Status:
    """Return the failure as a ``google.rpc.Status`` with its details.

    Args:
        failure: What happened.
        is_about_mail: Whether its outcome says what is true of a mail; not so where a caller only asked about one.
    """
    status = status_pb2.Status(code=CODES[failure.reason].value[0], message=_text(failure))
    info = _error_info(failure)
    if not is_about_mail:
        del info.metadata["outcome"]
    status.details.add().Pack(info)
    for detail in _further_details(failure):
        status.details.add().Pack(detail)
    return status


def trailing_metadata(
    failure: Failure, status: status_pb2.Status, *, remaining: float | None = None
) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of a failed call: the details, and the delay that gRPC clients obey (gRFC A6).

    A delay that leaves a retry no time within the ``remaining`` seconds of the call says "do not retry" instead: a
    client would wait for its own deadline, never see the details and have to think that the mail may have left.
    """
    details = ("grpc-status-details-bin", status.SerializeToString())
    seconds = retry_seconds(failure)
    if CODES[failure.reason] is not _Code.UNAVAILABLE or seconds is None:
        return (details,)
    fits = remaining is None or seconds + _LEAST_RETRY_SECONDS < remaining
    return details, ("grpc-retry-pushback-ms", str(math.ceil(seconds * 1000)) if fits else "-1")


def _text(failure: Failure) -> str:
    return failure.message[:_MAX_TEXT_CHARACTERS]


def _error_info(failure: Failure) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo(reason=failure.reason, domain=DOMAIN)
    info.metadata["outcome"] = failure.outcome
    info.metadata["stage"] = failure.stage
    info.metadata["logtoErrorCode"] = _LOGTO_CODES.get(failure.reason, _LOGTO_GENERAL)
    if failure.host:
        info.metadata["host"] = failure.host
    if failure.attempts:
        info.metadata["attempts"] = str(failure.attempts)
    if failure.reply is not None:
        info.metadata["smtpCode"] = str(failure.reply.code)
        info.metadata["smtpReply"] = failure.reply.text
        if failure.reply.enhanced_code:
            info.metadata["enhancedStatusCode"] = failure.reply.enhanced_code
    return info


def _further_details(failure: Failure) -> list[Message]:
    details: list[Message] = []
    if failure.violations:
        details.append(_bad_request(failure))
    elif failure.reason is Reason.SMTP_RECIPIENT_REJECTED:
        details.append(_single_violation("to", _text(failure)))
    code = CODES[failure.reason]
    if code is _Code.FAILED_PRECONDITION:
        precondition = error_details_pb2.PreconditionFailure()
        precondition.violations.add(type=failure.reason, subject=failure.host, description=_text(failure))
        details.append(precondition)
    if code is _Code.RESOURCE_EXHAUSTED:
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=failure.host or failure.reason, description=_text(failure))
        details.append(quota)
    seconds = retry_seconds(failure)
    if seconds is not None:
        delay = Duration()
        delay.FromMilliseconds(math.ceil(seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _single_violation(field: str, description: str) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field=field, description=description)
    return bad_request


def _bad_request(failure: Failure) -> error_details_pb2.BadRequest:
    """Return the violations, as many as fit beside the other details."""
    bad_request = error_details_pb2.BadRequest()
    octets = 0
    for violation in failure.violations:
        added = bad_request.field_violations.add(
            field=violation.field[:_MAX_DESCRIPTION_CHARACTERS],
            description=violation.description[:_MAX_DESCRIPTION_CHARACTERS],
        )
        octets += added.ByteSize()
        if octets > _MAX_DETAILS_OCTETS // 2:
            del bad_request.field_violations[-1]
            break
    return bad_request
