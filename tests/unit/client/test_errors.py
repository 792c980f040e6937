"""Each way in which a call fails, as the exception that says what to do about it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from grpc import StatusCode

import smtpconnector
from harness.fake_connector import Abort, Script, failure
from smtpconnector import (
    AuthenticationFailed,
    Cancelled,
    DeadlineExceeded,
    DeliveryExpired,
    DeliveryNotFound,
    DeliveryPending,
    DeliveryStateConflict,
    DeliveryUncertain,
    DeliveryWithdrawn,
    FailedPrecondition,
    InternalError,
    InvalidConfig,
    InvalidRequest,
    MessageRejected,
    NotImplementedByServer,
    Outcome,
    PermissionDenied,
    ProfileNotFound,
    RateLimited,
    RecipientRejected,
    RequestIdConflict,
    SmtpConnectorError,
    TemplateNotFound,
    Unauthenticated,
    Unavailable,
    Violation,
)
from smtpconnector.v1 import error_reason_pb2

if TYPE_CHECKING:
    from .conftest import Caller

BY_REASON: dict[str, tuple[StatusCode, str, type[SmtpConnectorError]]] = {
    "INVALID_REQUEST": (StatusCode.INVALID_ARGUMENT, "NOT_SENT", InvalidRequest),
    "INVALID_CONFIG": (StatusCode.INVALID_ARGUMENT, "NOT_SENT", InvalidConfig),
    "TEMPLATE_NOT_FOUND": (StatusCode.INVALID_ARGUMENT, "NOT_SENT", TemplateNotFound),
    "PROFILE_NOT_FOUND": (StatusCode.NOT_FOUND, "NOT_SENT", ProfileNotFound),
    "NOT_IMPLEMENTED": (StatusCode.UNIMPLEMENTED, "NOT_SENT", NotImplementedByServer),
    "UNAUTHENTICATED": (StatusCode.UNAUTHENTICATED, "NOT_SENT", Unauthenticated),
    "PERMISSION_DENIED": (StatusCode.PERMISSION_DENIED, "NOT_SENT", PermissionDenied),
    "EGRESS_DENIED": (StatusCode.PERMISSION_DENIED, "NOT_SENT", PermissionDenied),
    "SERVICE_OVERLOADED": (StatusCode.RESOURCE_EXHAUSTED, "NOT_SENT", RateLimited),
    "LOCAL_RATE_LIMITED": (StatusCode.RESOURCE_EXHAUSTED, "NOT_SENT", RateLimited),
    "SHUTTING_DOWN": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "DEADLINE_EXCEEDED": (StatusCode.DEADLINE_EXCEEDED, "NOT_SENT", DeadlineExceeded),
    "CANCELLED": (StatusCode.CANCELLED, "NOT_SENT", Cancelled),
    "INTERNAL": (StatusCode.INTERNAL, "NOT_SENT", InternalError),
    "SMTP_DNS_NOT_FOUND": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", FailedPrecondition),
    "SMTP_DNS_TEMPORARY": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_CONNECT_FAILED": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_CONNECT_TIMEOUT": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_GREETING_TIMEOUT": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_SERVICE_UNAVAILABLE": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_CONNECTION_REJECTED": (StatusCode.FAILED_PRECONDITION, "REJECTED", FailedPrecondition),
    "SMTP_CONNECTION_LOST": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_TLS_CERTIFICATE_INVALID": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", FailedPrecondition),
    "SMTP_TLS_PROTOCOL_MISMATCH": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", FailedPrecondition),
    "SMTP_TLS_REQUIRED": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", FailedPrecondition),
    "SMTP_TLS_TEMPORARY": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_TLS_REQUIRED_FOR_AUTH": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", FailedPrecondition),
    "SMTP_AUTH_UNSUPPORTED": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", AuthenticationFailed),
    "SMTP_AUTH_FAILED": (StatusCode.FAILED_PRECONDITION, "REJECTED", AuthenticationFailed),
    "SMTP_AUTH_TEMPORARY": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_AUTH_REQUIRED": (StatusCode.FAILED_PRECONDITION, "REJECTED", AuthenticationFailed),
    "OAUTH2_TOKEN_REJECTED": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", AuthenticationFailed),
    "OAUTH2_ENDPOINT_UNAVAILABLE": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_RATE_LIMITED": (StatusCode.RESOURCE_EXHAUSTED, "NOT_SENT", RateLimited),
    "SMTP_SENDER_REJECTED": (StatusCode.FAILED_PRECONDITION, "REJECTED", FailedPrecondition),
    "SMTP_SENDER_DEFERRED": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_SMTPUTF8_UNSUPPORTED": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", RecipientRejected),
    "SMTP_MESSAGE_TOO_LARGE": (StatusCode.INVALID_ARGUMENT, "REJECTED", MessageRejected),
    "SMTP_RECIPIENT_REJECTED": (StatusCode.INVALID_ARGUMENT, "REJECTED", RecipientRejected),
    "SMTP_MAILBOX_UNAVAILABLE": (StatusCode.FAILED_PRECONDITION, "REJECTED", RecipientRejected),
    "SMTP_POLICY_REJECTED": (StatusCode.FAILED_PRECONDITION, "REJECTED", RecipientRejected),
    "SMTP_RECIPIENT_DEFERRED": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_MESSAGE_REJECTED": (StatusCode.FAILED_PRECONDITION, "REJECTED", MessageRejected),
    "SMTP_MESSAGE_DEFERRED": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "SMTP_PROTOCOL_ERROR": (StatusCode.INTERNAL, "NOT_SENT", InternalError),
    "DELIVERY_UNCERTAIN": (StatusCode.UNKNOWN, "UNKNOWN", DeliveryUncertain),
    "REQUEST_ID_CONFLICT": (StatusCode.ALREADY_EXISTS, "NOT_SENT", RequestIdConflict),
    "STORE_UNAVAILABLE": (StatusCode.UNAVAILABLE, "NOT_SENT", Unavailable),
    "DELIVERY_PENDING": (StatusCode.DEADLINE_EXCEEDED, "UNKNOWN", DeliveryPending),
    "DELIVERY_EXPIRED": (StatusCode.DEADLINE_EXCEEDED, "NOT_SENT", DeliveryExpired),
    "DELIVERY_CANCELLED": (StatusCode.ABORTED, "NOT_SENT", DeliveryWithdrawn),
    "DELIVERY_SUPERSEDED": (StatusCode.ABORTED, "NOT_SENT", DeliveryWithdrawn),
    "DELIVERY_NOT_FOUND": (StatusCode.NOT_FOUND, "NOT_SENT", DeliveryNotFound),
    "DELIVERY_STATE_CONFLICT": (StatusCode.FAILED_PRECONDITION, "NOT_SENT", DeliveryStateConflict),
}


def test_every_reason_of_the_contract_stands_in_the_table() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - an enum of protobuf is no mapping
    assert set(BY_REASON) == contract - {"UNSPECIFIED"}


def test_every_error_can_be_imported_from_the_package() -> None:
    kinds = {kind.__name__ for kind in _descendants(SmtpConnectorError)}
    assert kinds < set(smtpconnector.__all__)


def _descendants(kind: type) -> set[type]:
    return {kind}.union(*(_descendants(child) for child in kind.__subclasses__()))


@pytest.mark.parametrize("reason", BY_REASON)
async def test_a_reason_becomes_its_exception(caller: Caller, script: Script, reason: str) -> None:
    code, outcome, kind = BY_REASON[reason]
    answer = failure(code, reason, outcome=outcome)
    answer.pushback_ms = -1
    script.will(answer)
    with pytest.raises(SmtpConnectorError) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert type(raised.value) is kind
    assert (raised.value.reason, raised.value.code, raised.value.outcome) == (reason, code, Outcome[outcome])
    assert raised.value.may_retry == (
        code
        in {
            StatusCode.UNAVAILABLE,
            StatusCode.RESOURCE_EXHAUSTED,
            StatusCode.DEADLINE_EXCEEDED,
            StatusCode.CANCELLED,
        }
        and kind is not DeliveryExpired
    )


async def test_an_error_carries_all_that_the_service_tells(caller: Caller, script: Script) -> None:
    script.will(
        failure(
            StatusCode.INVALID_ARGUMENT,
            "SMTP_RECIPIENT_REJECTED",
            details.BadRequest(
                field_violations=[details.BadRequest.FieldViolation(field="to", description="no such mailbox")]
            ),
            details.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
            outcome="REJECTED",
            stage="RCPT",
            smtpCode="550",
            enhancedStatusCode="5.1.1",
            host="mx.example.com",
            attempts="1",
        )
    )
    with pytest.raises(RecipientRejected) as raised:
        await caller.send_message("ada@example.com", "Test")
    error = raised.value
    assert error.message == "what happened"
    assert error.stage == "RCPT"
    assert error.smtp_code == 550
    assert error.enhanced_code == "5.1.1"
    assert error.host == "mx.example.com"
    assert error.violations == (Violation("to", "no such mailbox"),)
    assert error.retry_after == 1.5
    assert error.metadata["attempts"] == "1"
    assert str(error) == "SMTP_RECIPIENT_REJECTED: what happened; to: no such mailbox"
    assert isinstance(error.__cause__, grpc.RpcError)


async def test_what_failed_at_the_provider_is_told_like_a_field(caller: Caller, script: Script) -> None:
    precondition = details.PreconditionFailure(
        violations=[details.PreconditionFailure.Violation(type="T", subject="smtp.example.com", description="refused")]
    )
    quota = details.QuotaFailure(violations=[details.QuotaFailure.Violation(subject="per minute", description="full")])
    script.will(failure(StatusCode.FAILED_PRECONDITION, "SMTP_AUTH_FAILED", precondition, quota, outcome="REJECTED"))
    with pytest.raises(AuthenticationFailed) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert raised.value.violations == (Violation("smtp.example.com", "refused"), Violation("per minute", "full"))


def test_an_error_survives_the_way_between_processes() -> None:
    error = RecipientRejected(
        "no", reason="R", code=StatusCode.INVALID_ARGUMENT, smtp_code=550, outcome=Outcome.REJECTED
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own octets
    assert type(copy) is RecipientRejected
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.INVALID_ARGUMENT, InvalidRequest),
        (StatusCode.FAILED_PRECONDITION, FailedPrecondition),
        (StatusCode.RESOURCE_EXHAUSTED, RateLimited),
        (StatusCode.ALREADY_EXISTS, SmtpConnectorError),
    ],
)
async def test_a_reason_newer_than_the_client_falls_back_to_its_code(
    caller: Caller, script: Script, code: StatusCode, kind: type[SmtpConnectorError]
) -> None:
    script.will(failure(code, "OF_TOMORROW", outcome="NOT_SENT"))
    with pytest.raises(SmtpConnectorError) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert type(raised.value) is kind
    assert raised.value.reason == "OF_TOMORROW"


@pytest.mark.parametrize("reason", ["INTERNAL", "OF_TOMORROW", "DELIVERY_UNCERTAIN"])
async def test_an_unknown_outcome_is_always_delivery_uncertain(caller: Caller, script: Script, reason: str) -> None:
    script.will(failure(StatusCode.INTERNAL, reason, outcome="UNKNOWN"))
    with pytest.raises(DeliveryUncertain):
        await caller.send_message("ada@example.com", "Test")


@pytest.mark.parametrize(
    ("code", "metadata", "outcome"),
    [
        (StatusCode.UNAUTHENTICATED, {}, Outcome.NOT_SENT),
        (StatusCode.INTERNAL, {}, Outcome.UNKNOWN),
        (StatusCode.UNKNOWN, {}, Outcome.UNKNOWN),
        (StatusCode.INVALID_ARGUMENT, {"outcome": "OF_TOMORROW"}, Outcome.UNKNOWN),
    ],
)
async def test_an_outcome_that_is_not_told_or_not_known_is_never_guessed_well(
    caller: Caller, script: Script, code: StatusCode, metadata: dict[str, str], outcome: Outcome
) -> None:
    script.will(failure(code, "OF_TOMORROW", **metadata))
    with pytest.raises(SmtpConnectorError) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert raised.value.outcome is outcome


@pytest.mark.parametrize(
    ("code", "outcome", "kind"),
    [
        (StatusCode.UNAUTHENTICATED, Outcome.NOT_SENT, Unauthenticated),
        (StatusCode.PERMISSION_DENIED, Outcome.NOT_SENT, PermissionDenied),
        (StatusCode.UNIMPLEMENTED, Outcome.NOT_SENT, NotImplementedByServer),
        (StatusCode.RESOURCE_EXHAUSTED, Outcome.NOT_SENT, RateLimited),
        (StatusCode.UNKNOWN, Outcome.UNKNOWN, DeliveryUncertain),
        (StatusCode.INTERNAL, Outcome.UNKNOWN, DeliveryUncertain),
        (StatusCode.CANCELLED, Outcome.NOT_SENT, Cancelled),
        (StatusCode.DATA_LOSS, Outcome.UNKNOWN, DeliveryUncertain),
    ],
)
async def test_an_answer_that_is_not_the_services_own_is_judged_by_its_code(
    caller: Caller, script: Script, code: StatusCode, outcome: Outcome, kind: type[SmtpConnectorError]
) -> None:
    script.will(Abort(code, "from a proxy"))
    with pytest.raises(SmtpConnectorError, match="from a proxy") as raised:
        await caller.send_message("ada@example.com", "Test")
    assert type(raised.value) is kind
    assert (raised.value.outcome, raised.value.reason) == (outcome, "")


async def test_details_of_another_domain_are_not_taken_for_ours(caller: Caller, script: Script) -> None:
    foreign = details.ErrorInfo(reason="INVALID_CONFIG", domain="mesh.example", metadata={"outcome": "NOT_SENT"})
    script.will(Abort(StatusCode.INTERNAL, details=(foreign,)))
    with pytest.raises(DeliveryUncertain) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert raised.value.reason == ""


async def test_details_that_cannot_be_read_leave_the_code(caller: Caller, script: Script) -> None:
    script.will(Abort(StatusCode.UNAUTHENTICATED, raw_details=b"\xff\xff\xff"))
    with pytest.raises(Unauthenticated):
        await caller.send_message("ada@example.com", "Test")


async def test_an_smtp_code_that_is_no_number_is_none(caller: Caller, script: Script) -> None:
    script.will(failure(StatusCode.INTERNAL, "SMTP_PROTOCOL_ERROR", outcome="NOT_SENT", smtpCode="abc"))
    with pytest.raises(InternalError) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert raised.value.smtp_code is None


async def test_a_request_that_grpc_refuses_for_its_size_is_an_invalid_request(caller: Caller) -> None:
    with pytest.raises(InvalidRequest, match="too large") as raised:
        await caller.send_message("ada@example.com", "Test", {"text": "x" * 5_000_000})
    assert raised.value.outcome is Outcome.NOT_SENT
