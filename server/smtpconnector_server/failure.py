"""Why a message was not sent: the one vocabulary of failure that all rooms share and the edge translates.

A :class:`Failure` says what happened (reason), where (stage) and what is true of the message (outcome). It is raised
where the fact is known and passes unchanged to the edge, which alone knows gRPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpconnector_server.smtp.reply import Reply


class _UpperName(StrEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:  # noqa: ARG004
        return name


class Outcome(_UpperName):
    """What is true of a message that was not accepted."""

    NOT_SENT = auto()
    """No octet of it can still arrive; nobody refused it for good."""
    REJECTED = auto()
    """The SMTP server refused it for good (a 5yz reply)."""
    UNKNOWN = auto()
    """The connection broke after the last octet and before the reply: it may or may not arrive."""


class Stage(_UpperName):
    """How far a call came."""

    REQUEST = auto()
    CONFIG = auto()
    COMPOSE = auto()
    STORE = auto()
    """Writing the message to the store, or reading what the store keeps of it."""
    POOL = auto()
    """Waiting for a connection of the pool."""
    RESOLVE = auto()
    CONNECT = auto()
    TLS = auto()
    GREETING = auto()
    EHLO = auto()
    STARTTLS = auto()
    TOKEN = auto()
    """Fetching an OAuth 2.0 access token."""
    AUTH = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    MESSAGE = auto()
    """The message itself and the reply to its end."""


class Reason(_UpperName):
    """What happened. The contract's ``ErrorReason`` has the same names and says when each occurs."""

    INVALID_REQUEST = auto()
    INVALID_CONFIG = auto()
    TEMPLATE_NOT_FOUND = auto()
    PROFILE_NOT_FOUND = auto()
    NOT_IMPLEMENTED = auto()
    UNAUTHENTICATED = auto()
    PERMISSION_DENIED = auto()
    EGRESS_DENIED = auto()
    SERVICE_OVERLOADED = auto()
    LOCAL_RATE_LIMITED = auto()
    SHUTTING_DOWN = auto()
    DEADLINE_EXCEEDED = auto()
    CANCELLED = auto()
    INTERNAL = auto()
    SMTP_DNS_NOT_FOUND = auto()
    SMTP_DNS_TEMPORARY = auto()
    SMTP_CONNECT_FAILED = auto()
    SMTP_CONNECT_TIMEOUT = auto()
    SMTP_GREETING_TIMEOUT = auto()
    SMTP_SERVICE_UNAVAILABLE = auto()
    SMTP_CONNECTION_REJECTED = auto()
    SMTP_CONNECTION_LOST = auto()
    SMTP_TLS_CERTIFICATE_INVALID = auto()
    SMTP_TLS_PROTOCOL_MISMATCH = auto()
    SMTP_TLS_REQUIRED = auto()
    SMTP_TLS_TEMPORARY = auto()
    SMTP_TLS_REQUIRED_FOR_AUTH = auto()
    SMTP_AUTH_UNSUPPORTED = auto()
    SMTP_AUTH_FAILED = auto()
    SMTP_AUTH_TEMPORARY = auto()
    SMTP_AUTH_REQUIRED = auto()
    OAUTH2_TOKEN_REJECTED = auto()
    OAUTH2_ENDPOINT_UNAVAILABLE = auto()
    SMTP_RATE_LIMITED = auto()
    SMTP_SENDER_REJECTED = auto()
    SMTP_SENDER_DEFERRED = auto()
    SMTP_SMTPUTF8_UNSUPPORTED = auto()
    SMTP_MESSAGE_TOO_LARGE = auto()
    SMTP_RECIPIENT_REJECTED = auto()
    SMTP_MAILBOX_UNAVAILABLE = auto()
    SMTP_POLICY_REJECTED = auto()
    SMTP_RECIPIENT_DEFERRED = auto()
    SMTP_MESSAGE_REJECTED = auto()
    SMTP_MESSAGE_DEFERRED = auto()
    SMTP_PROTOCOL_ERROR = auto()
    DELIVERY_UNCERTAIN = auto()
    REQUEST_ID_CONFLICT = auto()
    STORE_UNAVAILABLE = auto()
    DELIVERY_PENDING = auto()
    DELIVERY_EXPIRED = auto()
    DELIVERY_CANCELLED = auto()
    DELIVERY_SUPERSEDED = auto()
    DELIVERY_NOT_FOUND = auto()
    DELIVERY_STATE_CONFLICT = auto()


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of the request or the configuration that is wrong."""

    field: str
    """Its path in the caller's own form, such as ``to`` or ``config.document.auth.user``."""
    description: str
    """What is wrong and what to do. Never the value itself, which may be personal or secret."""


class Failure(Exception):  # noqa: N818 - it is what the domain calls it
    """A message, or another request, that did not succeed.

    Args:
        reason: What happened.
        message: One English sentence for the caller: what happened and what to do. No secret, no personal data.
        stage: How far the call came.
        outcome: What is true of the message.
        violations: The fields that are wrong, all of them at once.
        reply: The SMTP server's reply that caused it.
        host: The SMTP server.
        retry_after: Seconds after which a retry makes sense; None when nothing is known.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        stage: Stage,
        outcome: Outcome = Outcome.NOT_SENT,
        violations: tuple[Violation, ...] = (),
        reply: Reply | None = None,
        host: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.stage = stage
        self.outcome = outcome
        self.violations = violations
        self.reply = reply
        self.host = host
        self.retry_after = retry_after
        self.attempts = 0
        """How many connections were tried; delivery counts them."""

    def __repr__(self) -> str:
        return f"Failure({self.reason}, stage={self.stage}, outcome={self.outcome})"
