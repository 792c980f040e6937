"""What the client itself repeats of a call with a request_id, and what it says when it gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpc import StatusCode

from harness.fake_connector import Abort, Break, Relay, Script, failure, serving_in_loop
from smtpconnector import (
    AsyncClient,
    Cancelled,
    Client,
    DeliveryPending,
    DeliveryUncertain,
    Outcome,
    RateLimited,
    RecipientRejected,
    RequestIdConflict,
    SmtpConnectorError,
    Unauthenticated,
    Unavailable,
)
from smtpconnector._attempts import Sending
from smtpconnector.testing import FakeConnector

if TYPE_CHECKING:
    from .conftest import Caller

PENDING = DeliveryPending("?", reason="DELIVERY_PENDING", outcome=Outcome.UNKNOWN)
BROKEN = DeliveryPending("?", code=StatusCode.UNAVAILABLE, outcome=Outcome.UNKNOWN)
AWAY = Unavailable("no", code=StatusCode.UNAVAILABLE, outcome=Outcome.NOT_SENT)


def said(kind: type[SmtpConnectorError], reason: str, outcome: Outcome = Outcome.NOT_SENT) -> SmtpConnectorError:
    return kind("said", reason=reason, outcome=outcome)


@pytest.mark.parametrize("error", [PENDING, BROKEN, Cancelled("stopped", outcome=Outcome.NOT_SENT)])
def test_what_nobody_has_answered_is_asked_again(error: SmtpConnectorError) -> None:
    assert 0 <= Sending(30, is_repeatable=True).pause_after(error) < 2


@pytest.mark.parametrize(
    "error", [PENDING, BROKEN, AWAY, said(DeliveryUncertain, "DELIVERY_UNCERTAIN", Outcome.UNKNOWN)]
)
def test_nothing_is_repeated_without_a_request_id(error: SmtpConnectorError) -> None:
    with pytest.raises(SmtpConnectorError) as raised:
        Sending(30, is_repeatable=False).pause_after(error)
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        AWAY,  # gRPC has tried again already
        said(Unavailable, "STORE_UNAVAILABLE"),
        said(RecipientRejected, "SMTP_RECIPIENT_REJECTED", Outcome.REJECTED),
        said(RateLimited, "SERVICE_OVERLOADED"),
        said(DeliveryUncertain, "DELIVERY_UNCERTAIN", Outcome.UNKNOWN),
        said(DeliveryUncertain, "INTERNAL", Outcome.UNKNOWN),
    ],
)
def test_an_answer_is_an_answer(error: SmtpConnectorError) -> None:
    with pytest.raises(SmtpConnectorError) as raised:
        Sending(30, is_repeatable=True).pause_after(error)
    assert raised.value is error


@pytest.mark.parametrize(
    "error",
    [
        said(RecipientRejected, "SMTP_RECIPIENT_REJECTED", Outcome.REJECTED),
        said(Unavailable, "SMTP_CONNECT_FAILED"),
        said(RequestIdConflict, "REQUEST_ID_CONFLICT"),
        said(DeliveryUncertain, "DELIVERY_UNCERTAIN", Outcome.UNKNOWN),
    ],
)
def test_what_is_said_of_the_mail_ends_the_doubt(error: SmtpConnectorError) -> None:
    sending = Sending(30, is_repeatable=True)
    sending.pause_after(BROKEN)
    with pytest.raises(SmtpConnectorError) as raised:
        sending.pause_after(error)
    assert raised.value is error


def test_what_is_said_of_an_attempt_does_not_end_the_doubt() -> None:
    sending = Sending(30, is_repeatable=True)
    sending.pause_after(BROKEN)
    with pytest.raises(DeliveryPending) as raised:
        sending.pause_after(said(Unauthenticated, "UNAUTHENTICATED"))
    assert raised.value is BROKEN
    assert isinstance(raised.value.__cause__, Unauthenticated)


@pytest.mark.parametrize(
    "error", [AWAY, said(Unavailable, "STORE_UNAVAILABLE"), said(RateLimited, "SERVICE_OVERLOADED")]
)
def test_in_doubt_what_may_pass_is_asked_again_and_not_believed_in_the_end(error: SmtpConnectorError) -> None:
    sending = Sending(30, is_repeatable=True)
    sending.pause_after(BROKEN)
    for _ in range(6):
        sending.pause_after(error)
    with pytest.raises(DeliveryPending) as raised:
        sending.pause_after(error)
    assert raised.value is BROKEN


def test_the_attempts_are_counted() -> None:
    sending = Sending(3600, is_repeatable=True)
    for _ in range(7):
        sending.pause_after(PENDING)
    with pytest.raises(DeliveryPending):
        sending.pause_after(PENDING)


def test_no_attempt_is_begun_without_time_for_it() -> None:
    with pytest.raises(DeliveryPending):
        Sending(0.4, is_repeatable=True).pause_after(PENDING)
    hinted = DeliveryPending("?", outcome=Outcome.UNKNOWN, retry_after=60)
    with pytest.raises(DeliveryPending):
        Sending(30, is_repeatable=True).pause_after(hinted)


async def test_a_call_that_broke_after_the_services_headers_is_repeated_under_its_id(script: Script) -> None:
    async with serving_in_loop(script) as port:
        relay = Relay(port)
        script.will(Break(relay, after_headers=True), None)
        async with relay.listening() as relayed, AsyncClient(f"127.0.0.1:{relayed}") as client:
            await client.send_message("ada@example.com", "Test", request_id="1")
    assert [request.request_id for request in script.requests] == ["1", "1"]


async def test_a_message_under_way_is_asked_for_again(caller: Caller, script: Script) -> None:
    script.will(failure(StatusCode.DEADLINE_EXCEEDED, "DELIVERY_PENDING", outcome="UNKNOWN"), None)
    await caller.send_message("ada@example.com", "Test", request_id="1")
    assert len(script.requests) == 2


async def test_an_answer_that_is_lost_for_good_may_be_asked_for_later(caller: Caller, script: Script) -> None:
    script.will(Abort(StatusCode.UNKNOWN, "from a proxy"))
    with pytest.raises(DeliveryPending) as raised:
        await caller.send_message("ada@example.com", "Test", request_id="1", timeout=1.5)
    assert raised.value.may_retry
    assert len(script.requests) > 1


async def test_an_uncertain_mail_is_never_asked_for_again(caller: Caller, script: Script) -> None:
    script.will(failure(StatusCode.UNKNOWN, "DELIVERY_UNCERTAIN", outcome="UNKNOWN"))
    with pytest.raises(DeliveryUncertain) as raised:
        await caller.send_message("ada@example.com", "Test", request_id="1")
    assert not raised.value.may_retry
    assert len(script.requests) == 1


async def test_a_check_without_sending_is_not_repeated(caller: Caller, script: Script) -> None:
    script.will(Abort(StatusCode.UNKNOWN))
    with pytest.raises(SmtpConnectorError):
        await caller.send_message("ada@example.com", "Test", request_id="1", validate_only=True)
    assert len(script.requests) == 1


def test_the_fake_lets_a_callers_repeat_find_the_mail() -> None:
    with FakeConnector() as connector, Client(connector.address) as client:
        connector.fail_next("DELIVERY_PENDING")
        assert client.send_message("ada@example.com", "Test", request_id="1").reply is not None
        assert len(connector.messages) == 1
        connector.fail_next("DELIVERY_UNCERTAIN")
        for _ in range(2):
            with pytest.raises(DeliveryUncertain):
                client.send_message("ada@example.com", "Test", request_id="2")
        assert len(connector.messages) == 2
