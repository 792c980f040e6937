from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from smtpconnector.v1 import error_reason_pb2
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage, Violation
from smtpconnector_server.rpc.status import CODES, to_status, trailing_metadata
from smtpconnector_server.smtp.reply import Reply

PREFIX = "ERROR_REASON_"


def details_of(failure: Failure) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in to_status(failure).details:
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.RetryInfo,
            error_details_pb2.PreconditionFailure,
            error_details_pb2.QuotaFailure,
        ):
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                assert kind.__name__ not in found, "each detail type at most once (AIP-193)"
                found[kind.__name__] = detail
    return found


def test_the_domain_and_the_contract_name_the_same_reasons() -> None:
    names = error_reason_pb2.ErrorReason.keys()
    contract = {name.removeprefix(PREFIX) for name in names} - {"UNSPECIFIED"}
    assert contract == {reason.value for reason in Reason}


def test_every_reason_has_the_code_that_its_comment_in_the_contract_says() -> None:
    text = Path("protos/smtpconnector/v1/error_reason.proto").read_text(encoding="utf-8")
    for reason in Reason:
        assert f"// {PREFIX}{reason} ({CODES[reason].name}):" in text


def test_an_uncertain_delivery_is_never_retried() -> None:
    failure = Failure(Reason.DELIVERY_UNCERTAIN, "x", stage=Stage.MESSAGE, outcome=Outcome.UNKNOWN)
    status = to_status(failure)
    assert status.code == grpc.StatusCode.UNKNOWN.value[0]
    assert "RetryInfo" not in details_of(failure)
    assert [key for key, _ in trailing_metadata(failure, status)] == ["grpc-status-details-bin"]


def test_unavailable_tells_machines_and_people_when_to_retry() -> None:
    failure = Failure(Reason.SMTP_CONNECT_FAILED, "x", stage=Stage.CONNECT, retry_after=2.5)
    detail = details_of(failure)["RetryInfo"]
    assert isinstance(detail, error_details_pb2.RetryInfo)
    assert detail.retry_delay.ToMilliseconds() == 2500
    assert dict(trailing_metadata(failure, to_status(failure)))["grpc-retry-pushback-ms"] == "2500"


@pytest.mark.parametrize("remaining", [5.0, 59.9, 60.1])
def test_a_delay_that_leaves_a_retry_no_time_before_the_callers_deadline_stops_the_retries(remaining: float) -> None:
    failure = Failure(Reason.SMTP_CONNECT_FAILED, "x", stage=Stage.CONNECT, retry_after=60)
    trailing = dict(trailing_metadata(failure, to_status(failure), remaining=remaining))
    assert trailing["grpc-retry-pushback-ms"] == "-1"


def test_error_info_carries_what_is_known_of_the_reply() -> None:
    failure = Failure(
        Reason.SMTP_AUTH_FAILED,
        "x",
        stage=Stage.AUTH,
        outcome=Outcome.REJECTED,
        host="smtp.example.com",
        reply=Reply(535, "5.7.8", "Username and Password not accepted"),
    )
    failure.attempts = 1
    info = details_of(failure)["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("SMTP_AUTH_FAILED", "smtpconnector.v1")
    assert dict(info.metadata) == {
        "outcome": "REJECTED",
        "stage": "AUTH",
        "smtpCode": "535",
        "enhancedStatusCode": "5.7.8",
        "smtpReply": "Username and Password not accepted",
        "host": "smtp.example.com",
        "attempts": "1",
        "logtoErrorCode": "authorization_failed",
    }


def test_a_refused_recipient_is_a_violation_of_to() -> None:
    failure = Failure(Reason.SMTP_RECIPIENT_REJECTED, "x", stage=Stage.RCPT, outcome=Outcome.REJECTED)
    bad_request = details_of(failure)["BadRequest"]
    assert isinstance(bad_request, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad_request.field_violations] == ["to"]


@pytest.mark.parametrize("reason", list(Reason))
def test_details_stay_under_4_kib_however_much_there_is_to_say(reason: Reason) -> None:
    violations = tuple(Violation(f"payload.{'x' * 200}{i}", "y" * 400) for i in range(1000))
    failure = Failure(
        reason,
        "z" * 5000,
        stage=Stage.REQUEST,
        violations=violations,
        host="h" * 253,
        reply=Reply(550, "5.1.1", "t" * 256),
    )
    assert to_status(failure).ByteSize() <= 4096


def test_a_request_id_that_served_before_is_named_as_the_field() -> None:
    violations = (Violation("request_id", "x"),)
    details = details_of(Failure(Reason.REQUEST_ID_CONFLICT, "x", stage=Stage.STORE, violations=violations))
    bad_request = details["BadRequest"]
    assert isinstance(bad_request, error_details_pb2.BadRequest)
    assert [violation.field for violation in bad_request.field_violations] == ["request_id"]
    assert "RetryInfo" not in details


def test_a_store_that_is_away_says_when_to_retry() -> None:
    assert "RetryInfo" in details_of(Failure(Reason.STORE_UNAVAILABLE, "x", stage=Stage.STORE))


def test_a_message_under_way_is_not_said_to_be_worth_a_blind_retry() -> None:
    pending = Failure(Reason.DELIVERY_PENDING, "x", stage=Stage.STORE, outcome=Outcome.UNKNOWN)
    assert set(details_of(pending)) == {"ErrorInfo"}


def test_a_state_that_does_not_allow_it_is_a_precondition() -> None:
    conflict = details_of(Failure(Reason.DELIVERY_STATE_CONFLICT, "x", stage=Stage.STORE))["PreconditionFailure"]
    assert isinstance(conflict, error_details_pb2.PreconditionFailure)
    assert [violation.type for violation in conflict.violations] == ["DELIVERY_STATE_CONFLICT"]


def test_an_error_that_is_about_no_mail_says_no_outcome() -> None:
    failure = Failure(Reason.STORE_UNAVAILABLE, "x", stage=Stage.STORE)
    info = error_details_pb2.ErrorInfo()
    to_status(failure, is_about_mail=False).details[0].Unpack(info)
    assert "outcome" not in info.metadata
    assert info.metadata["stage"] == "STORE"
