"""What is wrong with a request of DeliveryService, and what is told of a message."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from smtpconnector.v1 import delivery_pb2
from smtpconnector.v1 import delivery_service_pb2 as pb
from smtpconnector_server.failure import Failure, Reason
from smtpconnector_server.outbox.deliveries import Name, Resolution
from smtpconnector_server.rpc.delivery_mapping import to_change, to_delivery, to_filter, to_name, to_resolution
from smtpconnector_server.store.record import Attempt, Change, Filter, Kept
from smtpconnector_server.store.state import Mode, State, UncertainPolicy

KEPT = Kept(
    id="01",
    caller="shop",
    lane="profile:default",
    profile="default",
    usage_type="SignIn",
    message_id="<1@example.com>",
    mode=Mode.ENQUEUE,
    policy=UncertainPolicy.RESEND,
    state=State.QUEUED,
    is_committed=False,
    attempt=2,
    may_have_arrived=False,
    deferrals=1,
    resends_left=1,
    created_at=1_700_000_000.25,
    updated_at=1_700_000_001.5,
    due_at=1_700_000_002.75,
    expires_at=1_700_000_060.0,
    fingerprint=None,
    last=Attempt(
        host="smtp.example.com",
        reason="SMTP_RECIPIENT_DEFERRED",
        stage="RCPT",
        text="Try later.",
        reply_code=450,
        reply_enhanced_code="4.2.0",
        reply_text="busy",
        connections=1,
    ),
    history=(),
    is_held=False,
)


def fields_of(call: Any, request: Any) -> list[str]:
    with pytest.raises(Failure) as raised:
        call(request)
    assert raised.value.reason is Reason.INVALID_REQUEST
    return [violation.field for violation in raised.value.violations]


@pytest.mark.parametrize("kind", [pb.GetDeliveryRequest, pb.WatchDeliveryRequest, pb.CancelDeliveryRequest])
def test_exactly_one_name_is_asked_for(kind: Any) -> None:
    assert to_name(kind(id="0a-_Z")) == Name(id="0a-_Z")
    assert to_name(kind(request_id="order 1")) == Name(request_id="order 1")
    for both_or_none in (kind(), kind(id="1", request_id="1")):
        assert fields_of(to_name, both_or_none) == ["id", "request_id"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"id": "x" * 65}, "id"),
        ({"id": "a\0"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "1\n"}, "id"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"request_id": "é"}, "request_id"),
        ({"request_id": "\0"}, "request_id"),
    ],
)
def test_a_name_that_no_message_can_have_is_refused(fields: dict[str, str], wrong: str) -> None:
    assert fields_of(to_name, pb.GetDeliveryRequest(**fields)) == [wrong]


def test_a_list_without_filters_is_of_everything_and_has_fifty() -> None:
    assert to_filter(pb.ListDeliveriesRequest()) == (Filter(), 50)


def test_filters_are_read() -> None:
    request = pb.ListDeliveriesRequest(
        states=[delivery_pb2.DELIVERY_STATE_UNKNOWN, delivery_pb2.DELIVERY_STATE_SENT, 3],
        profile="shop",
        created_after=Timestamp(seconds=5, nanos=500_000_000),
        created_before=Timestamp(seconds=7),
        page_size=500,
    )
    which = Filter(states=(State.SENT, State.UNKNOWN), profile="shop", created_from=5.5, created_before=7.0)
    assert to_filter(request) == (which, 500)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": 501}, "page_size"),
        ({"states": [delivery_pb2.DELIVERY_STATE_UNSPECIFIED]}, "states"),
        ({"states": [delivery_pb2.DELIVERY_STATE_SENT, 99]}, "states"),
        ({"profile": "a\0"}, "profile"),
        ({"profile": "x" * 257}, "profile"),
        ({"created_after": Timestamp(seconds=0, nanos=-1)}, "created_after"),
        ({"created_after": Timestamp(seconds=253_402_300_800)}, "created_after"),
        ({"created_before": Timestamp(seconds=-62_135_596_801)}, "created_before"),
        ({"created_before": Timestamp(nanos=1_000_000_000)}, "created_before"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(fields: dict[str, Any], wrong: str) -> None:
    assert fields_of(to_filter, pb.ListDeliveriesRequest(**fields)) == [wrong]


def test_all_that_is_wrong_is_told_at_once() -> None:
    request = pb.ListDeliveriesRequest(page_size=-1, states=[99], created_after=Timestamp(nanos=-1))
    assert fields_of(to_filter, request) == ["page_size", "states", "created_after"]
    assert fields_of(to_resolution, pb.ResolveDeliveryRequest()) == ["id", "resolution"]


def test_a_resolution_is_read() -> None:
    drop = pb.ResolveDeliveryRequest(id="1", resolution=pb.RESOLUTION_DROP)
    assert to_resolution(drop) == ("1", Resolution.DROP)
    again = pb.ResolveDeliveryRequest(id="1", resolution=pb.RESOLUTION_SEND_AGAIN)
    assert to_resolution(again) == ("1", Resolution.SEND_AGAIN)
    assert fields_of(to_resolution, pb.ResolveDeliveryRequest(id="1", resolution=9)) == ["resolution"]  # type: ignore[arg-type]


def test_a_message_that_waits_tells_when_it_is_tried_next_and_what_went_wrong_last() -> None:
    delivery = to_delivery(KEPT)
    assert delivery.state == delivery_pb2.DELIVERY_STATE_QUEUED
    assert delivery.delivery_mode == delivery_pb2.DELIVERY_MODE_ENQUEUE
    assert delivery.uncertain_policy == delivery_pb2.UNCERTAIN_POLICY_RESEND
    assert delivery.create_time == Timestamp(seconds=1_700_000_000, nanos=250_000_000)
    assert delivery.next_attempt_time == Timestamp(seconds=1_700_000_002, nanos=750_000_000)
    assert (delivery.attempts, delivery.host) == (2, "smtp.example.com")
    assert delivery.failure == pb.DeliveryFailure(reason="SMTP_RECIPIENT_DEFERRED", stage="RCPT", text="Try later.")
    assert (delivery.reply.code, delivery.reply.enhanced_code, delivery.reply.text) == (450, "4.2.0", "busy")


@pytest.mark.parametrize("state", State)
def test_every_state_has_its_name_in_the_contract(state: State) -> None:
    kept = dataclasses.replace(KEPT, state=state, last=Attempt(), profile=None)
    delivery = to_delivery(kept)
    assert delivery_pb2.DeliveryState.Name(delivery.state) == f"DELIVERY_STATE_{state}"
    assert delivery.HasField("next_attempt_time") == (state is State.QUEUED)
    assert not delivery.HasField("failure")
    assert not delivery.HasField("reply")
    assert not delivery.profile


def test_a_change_comes_with_the_message_as_it_is_now() -> None:
    change = to_change(Change(3, State.SENDING, 1_700_000_001.0, ""), KEPT)
    assert (change.cursor, change.state) == (3, delivery_pb2.DELIVERY_STATE_SENDING)
    assert change.time == Timestamp(seconds=1_700_000_001)
    assert change.delivery == to_delivery(KEPT)
