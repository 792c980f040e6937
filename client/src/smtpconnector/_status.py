"""From the end of a gRPC call to the error that says what it means.

Invariant: an outcome is NOT_SENT only if the service said so or the request provably never reached a method that sends.
Whatever nobody can know is UNKNOWN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import RpcError, StatusCode

from smtpconnector.errors import (
    DeliveryPending,
    InvalidRequest,
    Outcome,
    SmtpConnectorError,
    Violation,
    error_class,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

_DOMAIN = "smtpconnector.v1"
_DETAILS_KEY = "grpc-status-details-bin"
_COMMITTED_KEY = "smtpconnector-committed"

# gRPC, or a proxy in front of the service, refuses with these before a method runs.
_REFUSED_AT_THE_DOOR = frozenset(
    {
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.UNAUTHENTICATED,
        StatusCode.UNIMPLEMENTED,
    }
)

# How gRPC begins the text of an UNAVAILABLE for which it never had a connection. Any other text, such as one for a
# connection that broke during the call, proves nothing.
_NEVER_CONNECTED = (
    "connections to all backends failing",
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
)

_Detail = TypeVar("_Detail", bound="Message")


class _Ended(Protocol):
    """What the errors of grpc and of grpc.aio have in common."""

    def code(self) -> StatusCode: ...
    def details(self) -> str | None: ...
    def initial_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def error_from(rpc_error: RpcError, *, may_send: bool, is_repeatable: bool = False) -> SmtpConnectorError:
    """Translate.

    Args:
        rpc_error: What grpc or grpc.aio raised.
        may_send: True if the call was one that sends a mail.
        is_repeatable: True if the very same call cannot send it twice.
    """
    ended = cast("_Ended", rpc_error)
    code, text = ended.code(), ended.details() or ""
    status = _rich_status(ended)
    info = _detail(status, error_details_pb2.ErrorInfo)
    if info is None or info.domain != _DOMAIN:
        error = _error_of_the_way(code, text, may_send=may_send, is_committed=_is_committed(ended))
        if is_repeatable and error.outcome is Outcome.UNKNOWN:
            return DeliveryPending(error.message, code=code, outcome=Outcome.UNKNOWN)
        return error

    metadata = dict(info.metadata)
    outcome = _outcome_said(metadata.get("outcome"), code) if may_send else None
    retry = _detail(status, error_details_pb2.RetryInfo)
    return error_class(info.reason, code, outcome)(
        text,
        reason=info.reason,
        code=code,
        outcome=outcome,
        stage=metadata.get("stage", ""),
        smtp_code=_number(metadata.get("smtpCode")),
        enhanced_code=metadata.get("enhancedStatusCode", ""),
        host=metadata.get("host", ""),
        violations=_violations(status),
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
        metadata=metadata,
    )


def _is_committed(ended: _Ended) -> bool:
    """Tell whether the service had said that the mail may be on its way."""
    return any(key == _COMMITTED_KEY for key, _ in ended.initial_metadata() or ())


def _error_of_the_way(code: StatusCode, text: str, *, may_send: bool, is_committed: bool) -> SmtpConnectorError:
    """Make the error for an answer that does not come from the service."""
    if code is StatusCode.RESOURCE_EXHAUSTED and "message larger than max" in text:
        # gRPC uses the code of an exhausted quota for it, but no retry helps.
        return InvalidRequest(
            f"the request or the answer is too large for gRPC ({text})",
            code=code,
            outcome=Outcome.NOT_SENT if may_send else None,
        )
    outcome = None
    message = f"the service gave no answer ({text})"
    if code is StatusCode.UNAVAILABLE and text.startswith(_NEVER_CONNECTED):
        outcome = Outcome.NOT_SENT
        message = f"the service cannot be reached ({text})"
    elif code is StatusCode.CANCELLED and not is_committed:
        # Who cancels himself gets no RpcError: it was a service that stops, and its answer begins with the metadata.
        outcome = Outcome.NOT_SENT
        message = f"the service stopped before it sent the mail ({text})"
    elif code in _REFUSED_AT_THE_DOOR:
        outcome = Outcome.NOT_SENT
        message = f"the call was refused before it reached the service ({text})"
    elif may_send:
        outcome = Outcome.UNKNOWN
        message = f"the service gave no answer, so the mail may or may not arrive ({text})"
    outcome = outcome if may_send else None
    return error_class("", code, outcome)(message, code=code, outcome=outcome)


def _outcome_said(said: str | None, code: StatusCode) -> Outcome:
    if said is not None and said in Outcome.__members__:
        return Outcome[said]
    if said is None and code not in {StatusCode.UNKNOWN, StatusCode.INTERNAL}:
        return Outcome.NOT_SENT  # by the contract, every other code means it
    return Outcome.UNKNOWN


def _rich_status(ended: _Ended) -> status_pb2.Status:
    for key, value in ended.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details:
        detail = kind()
        try:
            if packed.Unpack(detail):
                return detail
        except DecodeError:
            continue
    return None


def _violations(status: status_pb2.Status) -> tuple[Violation, ...]:
    request = _detail(status, error_details_pb2.BadRequest)
    precondition = _detail(status, error_details_pb2.PreconditionFailure)
    quota = _detail(status, error_details_pb2.QuotaFailure)
    return (
        *(Violation(found.field, found.description) for found in (request.field_violations if request else ())),
        *(Violation(found.subject, found.description) for found in (precondition.violations if precondition else ())),
        *(Violation(found.subject, found.description) for found in (quota.violations if quota else ())),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
