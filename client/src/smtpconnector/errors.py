"""Why a call failed: one root error, and a child for each thing that a caller may want to do about it.

Invariant: :class:`DeliveryUncertain` is raised whenever, and only when, the mail may or may not have been sent. With
every other error of ``send_message`` it was not sent.
"""
# ruff: noqa: N818 - a child's name says what happened; the root's name says that it is an error

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(str, Enum):
    """What is true of a message that was not accepted."""

    NOT_SENT = "NOT_SENT"
    """No octet of it can still arrive, and nobody refused it for good."""
    REJECTED = "REJECTED"
    """The SMTP server refused it for good."""
    UNKNOWN = "UNKNOWN"
    """It may or may not arrive."""

    __str__ = str.__str__


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with the request, the configuration, the SMTP account or a quota."""

    field: str
    """Its path in the caller's own form, such as ``to`` or ``config.document.auth.user``; or what else it is about."""
    description: str
    """What is wrong and what to do."""


class SmtpConnectorError(Exception):
    """A call failed.

    Attributes:
        message: One English sentence; holds no secret and no personal data.
        reason: The service's name for it (``ErrorReason`` without its prefix), such as ``SMTP_AUTH_FAILED``. Empty when
            the error does not come from the service but from gRPC or from something in between.
        code: The gRPC status code.
        outcome: What is true of the message. None when the call was not to send one.
        stage: How far the call came, such as ``CONNECT`` or ``RCPT``. Empty when unknown.
        smtp_code: The SMTP server's reply code, such as 550. None when no reply caused the error.
        enhanced_code: Its enhanced status code (RFC 3463), such as ``5.1.1``. Empty when there is none.
        host: The SMTP server. Empty when unknown.
        violations: What is wrong, all of it at once.
        retry_after: Seconds after which a retry makes sense. None when nothing is known.
        metadata: The metadata of ``google.rpc.ErrorInfo`` as it came.
    """

    may_retry: ClassVar[bool] = False
    """True when the same call may succeed later and cannot send the mail twice."""

    def __init__(  # noqa: PLR0913 - all but the message have a default, as pickle and the caller's tests want it
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        outcome: Outcome | None = None,
        stage: str = "",
        smtp_code: int | None = None,
        enhanced_code: str = "",
        host: str = "",
        violations: tuple[Violation, ...] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.outcome = outcome
        self.stage = stage
        self.smtp_code = smtp_code
        self.enhanced_code = enhanced_code
        self.host = host
        self.violations = violations
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        news = [found for found in self.violations if found.description not in self.message]
        told = [f"{found.field}: {found.description}" for found in news]
        return "; ".join([f"{self.reason or self.code.name}: {self.message}", *told])


class InvalidRequest(SmtpConnectorError):
    """The request is wrong: correct the call. ``violations`` names the fields."""


class InvalidConfig(SmtpConnectorError):
    """The configuration is wrong: correct it. ``violations`` names the fields."""


class TemplateNotFound(InvalidConfig):
    """The configuration has no template for this type, and none for ``Generic``."""


class ProfileNotFound(SmtpConnectorError):
    """The service holds no configuration of that name."""


class RecipientRejected(SmtpConnectorError):
    """The SMTP server refused this recipient for good: take the address off the list, or ask for another one."""


class MessageRejected(SmtpConnectorError):
    """The SMTP server refused this message for good, for its size or its content: change the message."""


class FailedPrecondition(SmtpConnectorError):
    """The SMTP server and the configuration do not fit: an operator has to act before any mail can be sent."""


class AuthenticationFailed(FailedPrecondition):
    """The SMTP server, or the token end point of its provider, refused the configured credentials."""


class Unauthenticated(SmtpConnectorError):
    """The service did not accept this client's own token or certificate."""


class PermissionDenied(SmtpConnectorError):
    """The operator's policy forbids this call, or a connection to this SMTP server."""


class RateLimited(SmtpConnectorError):
    """A limit of the service or of the provider is reached: try again after ``retry_after``."""

    may_retry = True


class Unavailable(SmtpConnectorError):
    """The service or the SMTP server cannot be reached or defers the mail, which was not sent: try again later."""

    may_retry = True


class DeadlineExceeded(SmtpConnectorError):
    """The time ran out before the mail was sent."""

    may_retry = True


class Cancelled(SmtpConnectorError):
    """The call was cancelled before the mail was sent."""

    may_retry = True


class DeliveryUncertain(SmtpConnectorError):
    """The mail may or may not have been sent, and nobody can know: a second attempt may send it twice."""


class DeliveryPending(DeliveryUncertain):
    """Nobody has said yet how the mail ends: the same call with the same ``request_id``, or ``get_delivery``, will.

    Repeating that call cannot send the mail twice.
    """

    may_retry = True


class DeliveryExpired(SmtpConnectorError):
    """The mail's ``expire_time`` passed before it was sent, and it never will be: make a new one."""


class DeliveryWithdrawn(SmtpConnectorError):
    """The mail was cancelled, or a newer one took its place, before it was sent."""


class DeliveryNotFound(SmtpConnectorError):
    """The service keeps no such mail of this caller."""


class DeliveryStateConflict(SmtpConnectorError):
    """The mail's state does not allow this, such as cancelling one that was sent."""


class RequestIdConflict(InvalidRequest):
    """The ``request_id`` has served for another request: each mail needs one of its own."""


class NotImplementedByServer(SmtpConnectorError):
    """This server does not have the method or the feature yet."""


class InternalError(SmtpConnectorError):
    """The service, or the SMTP server, did what it must not do; the mail was not sent."""


_BY_REASON: dict[str, type[SmtpConnectorError]] = {
    "INVALID_REQUEST": InvalidRequest,
    "INVALID_CONFIG": InvalidConfig,
    "TEMPLATE_NOT_FOUND": TemplateNotFound,
    "PROFILE_NOT_FOUND": ProfileNotFound,
    "NOT_IMPLEMENTED": NotImplementedByServer,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "EGRESS_DENIED": PermissionDenied,
    "SERVICE_OVERLOADED": RateLimited,
    "LOCAL_RATE_LIMITED": RateLimited,
    "SHUTTING_DOWN": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "INTERNAL": InternalError,
    "SMTP_DNS_NOT_FOUND": FailedPrecondition,
    "SMTP_DNS_TEMPORARY": Unavailable,
    "SMTP_CONNECT_FAILED": Unavailable,
    "SMTP_CONNECT_TIMEOUT": Unavailable,
    "SMTP_GREETING_TIMEOUT": Unavailable,
    "SMTP_SERVICE_UNAVAILABLE": Unavailable,
    "SMTP_CONNECTION_REJECTED": FailedPrecondition,
    "SMTP_CONNECTION_LOST": Unavailable,
    "SMTP_TLS_CERTIFICATE_INVALID": FailedPrecondition,
    "SMTP_TLS_PROTOCOL_MISMATCH": FailedPrecondition,
    "SMTP_TLS_REQUIRED": FailedPrecondition,
    "SMTP_TLS_TEMPORARY": Unavailable,
    "SMTP_TLS_REQUIRED_FOR_AUTH": FailedPrecondition,
    "SMTP_AUTH_UNSUPPORTED": AuthenticationFailed,
    "SMTP_AUTH_FAILED": AuthenticationFailed,
    "SMTP_AUTH_TEMPORARY": Unavailable,
    "SMTP_AUTH_REQUIRED": AuthenticationFailed,
    "OAUTH2_TOKEN_REJECTED": AuthenticationFailed,
    "OAUTH2_ENDPOINT_UNAVAILABLE": Unavailable,
    "SMTP_RATE_LIMITED": RateLimited,
    "SMTP_SENDER_REJECTED": FailedPrecondition,
    "SMTP_SENDER_DEFERRED": Unavailable,
    "SMTP_SMTPUTF8_UNSUPPORTED": RecipientRejected,
    "SMTP_MESSAGE_TOO_LARGE": MessageRejected,
    "SMTP_RECIPIENT_REJECTED": RecipientRejected,
    "SMTP_MAILBOX_UNAVAILABLE": RecipientRejected,
    "SMTP_POLICY_REJECTED": RecipientRejected,
    "SMTP_RECIPIENT_DEFERRED": Unavailable,
    "SMTP_MESSAGE_REJECTED": MessageRejected,
    "SMTP_MESSAGE_DEFERRED": Unavailable,
    "SMTP_PROTOCOL_ERROR": InternalError,
    "DELIVERY_UNCERTAIN": DeliveryUncertain,
    "REQUEST_ID_CONFLICT": RequestIdConflict,
    "STORE_UNAVAILABLE": Unavailable,
    "DELIVERY_PENDING": DeliveryPending,
    "DELIVERY_EXPIRED": DeliveryExpired,
    "DELIVERY_CANCELLED": DeliveryWithdrawn,
    "DELIVERY_SUPERSEDED": DeliveryWithdrawn,
    "DELIVERY_NOT_FOUND": DeliveryNotFound,
    "DELIVERY_STATE_CONFLICT": DeliveryStateConflict,
}

_BY_CODE: dict[grpc.StatusCode, type[SmtpConnectorError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: ProfileNotFound,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimited,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedByServer,
    grpc.StatusCode.INTERNAL: InternalError,
}


def error_class(reason: str, code: grpc.StatusCode, outcome: Outcome | None) -> type[SmtpConnectorError]:
    """Choose the class for a failure; a reason newer than this client falls back to what its status code means."""
    found = _BY_REASON.get(reason) or _BY_CODE.get(code, SmtpConnectorError)
    if outcome is Outcome.UNKNOWN and not issubclass(found, DeliveryUncertain):
        return DeliveryUncertain
    return found
