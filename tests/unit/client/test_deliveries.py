"""Mails that the service keeps, through both clients: asked for, watched, listed, cancelled, resolved."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.fake_connector import failure
from smtpconnector import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    DeliveryChange,
    DeliveryMode,
    DeliveryNotFound,
    DeliveryState,
    DeliveryStateConflict,
    InvalidRequest,
    RateLimited,
    RequestIdConflict,
    Resolution,
    UncertainPolicy,
)
from smtpconnector.testing import FakeConnector
from smtpconnector.v1 import delivery_pb2
from smtpconnector.v1 import delivery_service_pb2 as pb
from smtpconnector.v1 import delivery_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
MAIL = ("ada@example.com", "SignIn", {"code": "123456"})


class Caller:
    """Either client, called in the same way."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            result = getattr(self.client, name)(*args, **options)
            if inspect.isasyncgen(result):
                return [item async for item in result]
            if inspect.isgenerator(result):
                return list(result)
            return await result if inspect.isawaitable(result) else result

        return call


@pytest.fixture(params=["queue runs", "queue is held"])
def connector(request: pytest.FixtureRequest) -> Iterator[FakeConnector]:
    with FakeConnector(holds_queue=request.param == "queue is held") as connector:
        yield connector


@pytest.fixture(params=[Client, AsyncClient])
async def caller(request: pytest.FixtureRequest, connector: FakeConnector) -> AsyncIterator[Caller]:
    if request.param is Client:
        with Client(connector.address) as client:
            yield Caller(client)
    else:
        async with AsyncClient(connector.address) as client:
            yield Caller(client)


running = pytest.mark.parametrize("connector", ["queue runs"], indirect=True)
held = pytest.mark.parametrize("connector", ["queue is held"], indirect=True)


@running
async def test_a_request_carries_how_the_mail_is_to_be_delivered(caller: Caller, connector: FakeConnector) -> None:
    await caller.send_message(
        *MAIL,
        request_id="order 1",
        delivery_mode=DeliveryMode.ENQUEUE,
        expire_time=NOON,
        supersede_key="codes of ada",
        uncertain_policy=UncertainPolicy.RESEND,
    )
    request = connector.messages[0].request
    assert (request.request_id, request.supersede_key) == ("order 1", "codes of ada")
    assert request.delivery_mode == delivery_pb2.DELIVERY_MODE_ENQUEUE
    assert request.uncertain_policy == delivery_pb2.UNCERTAIN_POLICY_RESEND
    assert request.expire_time.seconds == NOON.timestamp()
    await caller.send_message(*MAIL, expire_in=timedelta(minutes=10))
    left = connector.messages[1].request.expire_time.seconds - datetime.now(UTC).timestamp()
    assert 500 < left < 700


@running
async def test_a_plain_request_carries_none_of_it(caller: Caller, connector: FakeConnector) -> None:
    sent = await caller.send_message(*MAIL)
    fields = {field.name for field, _ in connector.messages[0].request.ListFields()}
    assert fields == {"to", "type", "payload"}
    assert (sent.delivery_id, sent.state) == ("", None)


@running
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"expire_time": NOON.replace(tzinfo=None)}, "expire_time"),
        ({"expire_time": 1.5}, "expire_time"),
        ({"expire_time": NOON, "expire_in": timedelta(1)}, "expire_in"),
        ({"expire_in": timedelta()}, "expire_in"),
        ({"expire_in": 60}, "expire_in"),
        ({"delivery_mode": "SOON"}, "delivery_mode"),
        ({"delivery_mode": DeliveryMode.UNRECOGNIZED}, "delivery_mode"),
        ({"uncertain_policy": "SHRUG"}, "uncertain_policy"),
        ({"request_id": "\ud800"}, "request_id"),
        ({"supersede_key": 1}, "supersede_key"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_the_call(
    caller: Caller, connector: FakeConnector, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await caller.send_message(*MAIL, **options)
    assert [violation.field for violation in refused.value.violations] == [field]
    assert not connector.messages


@running
async def test_a_time_without_a_zone_is_told_how_to_get_one(caller: Caller) -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(InvalidRequest, match="without a time zone"):
        await caller.list_deliveries(created_after=naive)
    with pytest.raises(InvalidRequest, match="without a time zone"):
        await caller.send_message(*MAIL, expire_time=naive)


@running
async def test_a_repeat_is_one_mail_and_another_request_is_refused(caller: Caller, connector: FakeConnector) -> None:
    first = await caller.send_message(*MAIL, request_id="1")
    assert (first.state, first.reply.code) == (DeliveryState.SENT, 250)
    assert await caller.send_message(*MAIL, request_id="1") == first
    assert len(connector.messages) == 1
    with pytest.raises(RequestIdConflict):
        await caller.send_message("bob@example.com", "SignIn", request_id="1")


@running
async def test_a_kept_mail_is_told_by_both_of_its_names(caller: Caller) -> None:
    sent = await caller.send_message(*MAIL, request_id="1", delivery_mode=DeliveryMode.ENQUEUE)
    delivery = await caller.get_delivery(sent.delivery_id)
    assert delivery == await caller.get_delivery(request_id="1")
    assert (delivery.id, delivery.state, delivery.message_id) == (sent.delivery_id, sent.state, sent.message_id)
    assert (delivery.delivery_mode, delivery.uncertain_policy) == (DeliveryMode.ENQUEUE, UncertainPolicy.HOLD)
    assert delivery.create_time.utcoffset() == timedelta()
    assert delivery.next_attempt_time is None
    assert delivery.failure is None
    assert delivery.reply is not None
    with pytest.raises(DeliveryNotFound):
        await caller.get_delivery("none")
    with pytest.raises(InvalidRequest):
        await caller.get_delivery()


@held
async def test_a_mail_is_watched_to_its_end(caller: Caller, connector: FakeConnector) -> None:
    sent = await caller.send_message(*MAIL, delivery_mode=DeliveryMode.ENQUEUE)
    assert (sent.state, sent.reply, sent.attempts) == (DeliveryState.QUEUED, None, 0)
    connector.end_delivery(sent.delivery_id, DeliveryState.SENDING)
    connector.end_delivery(sent.delivery_id, DeliveryState.REJECTED, "SMTP_RECIPIENT_REJECTED")
    changes = await caller.watch_delivery(sent.delivery_id)
    assert [(change.cursor, change.state, change.reason) for change in changes] == [
        (1, DeliveryState.QUEUED, ""),
        (2, DeliveryState.SENDING, ""),
        (3, DeliveryState.REJECTED, "SMTP_RECIPIENT_REJECTED"),
    ]
    assert changes[-1].delivery.failure.reason == "SMTP_RECIPIENT_REJECTED"
    assert await caller.watch_delivery(sent.delivery_id, cursor=2) == changes[2:]
    assert await caller.watch_delivery(sent.delivery_id, cursor=3) == []
    assert [state for state in DeliveryState if not state.is_final] == [
        DeliveryState.QUEUED,
        DeliveryState.SENDING,
        DeliveryState.UNRECOGNIZED,
    ]


@held
async def test_a_watch_does_not_wait_for_ever(caller: Caller) -> None:
    sent = await caller.send_message(*MAIL, delivery_mode=DeliveryMode.ENQUEUE)
    with pytest.raises(DeadlineExceeded):
        await caller.watch_delivery(sent.delivery_id, timeout=0.3)
    with pytest.raises(ValueError, match="timeout"):
        await caller.watch_delivery(sent.delivery_id, timeout=-1)


@held
async def test_a_watch_that_is_left_ends_at_the_service_too(connector: FakeConnector) -> None:
    with Client(connector.address) as client:
        sent = client.send_message(*MAIL, delivery_mode=DeliveryMode.ENQUEUE)
        for _ in range(40):  # more than the service has threads
            watch = client.watch_delivery(sent.delivery_id)
            assert next(watch).state is DeliveryState.QUEUED
            watch.close()  # type: ignore[attr-defined]  # it is a generator


@running
async def test_all_pages_are_one_list(caller: Caller) -> None:
    sent = [await caller.send_message(*MAIL, request_id=str(number), timeout=10) for number in range(120)]
    ids = [message.delivery_id for message in sent]
    assert [delivery.id for delivery in await caller.list_deliveries()] == ids[::-1]


@held
async def test_a_list_keeps_to_its_filters(caller: Caller, connector: FakeConnector) -> None:
    ids = [
        (await caller.send_message(*MAIL, config=profile, delivery_mode=DeliveryMode.ENQUEUE)).delivery_id
        for profile in ("shop", "desk")
    ]
    connector.end_delivery(ids[0])

    async def listed(**filters: Any) -> list[str]:
        return [delivery.id for delivery in await caller.list_deliveries(**filters)]

    assert await listed(states=[DeliveryState.SENT]) == [ids[0]]
    assert await listed(profile="desk") == [ids[1]]
    made = (await caller.get_delivery(ids[1])).create_time
    assert await listed(created_after=made) == [ids[1]]
    assert await listed(created_before=made) == [ids[0]]
    with pytest.raises(InvalidRequest):
        await caller.list_deliveries(states=["NONSENSE"])


@held
async def test_a_mail_is_cancelled_before_it_leaves_and_not_after(caller: Caller, connector: FakeConnector) -> None:
    sent = await caller.send_message(*MAIL, request_id="1", delivery_mode=DeliveryMode.ENQUEUE)
    for _ in range(2):
        assert (await caller.cancel_delivery(request_id="1")).state is DeliveryState.CANCELLED
    other = await caller.send_message(*MAIL, delivery_mode=DeliveryMode.ENQUEUE)
    connector.end_delivery(other.delivery_id)
    with pytest.raises(DeliveryStateConflict):
        await caller.cancel_delivery(other.delivery_id)
    assert (await caller.get_delivery(sent.delivery_id)).failure.reason == "DELIVERY_CANCELLED"


@held
async def test_a_newer_mail_takes_the_place_of_an_older_one(caller: Caller) -> None:
    old, new = [
        (await caller.send_message(*MAIL, delivery_mode=DeliveryMode.ENQUEUE, supersede_key="ada")).delivery_id
        for _ in range(2)
    ]
    assert (await caller.get_delivery(old)).state is DeliveryState.SUPERSEDED
    assert (await caller.get_delivery(new)).state is DeliveryState.QUEUED


@held
async def test_a_held_mail_is_sent_again_or_dropped(caller: Caller, connector: FakeConnector) -> None:
    for resolution, state in (
        (Resolution.SEND_AGAIN, DeliveryState.QUEUED),
        (Resolution.DROP, DeliveryState.UNKNOWN),
    ):
        sent = await caller.send_message(*MAIL, delivery_mode=DeliveryMode.ENQUEUE)
        connector.end_delivery(sent.delivery_id, DeliveryState.UNKNOWN, "DELIVERY_UNCERTAIN")
        assert (await caller.get_delivery(sent.delivery_id)).held
        resolved = await caller.resolve_delivery(sent.delivery_id, resolution)
        assert (resolved.state, resolved.held) == (state, False)
    with pytest.raises(DeliveryStateConflict):
        await caller.resolve_delivery(sent.delivery_id, Resolution.SEND_AGAIN)
    with pytest.raises(InvalidRequest):
        await caller.resolve_delivery(sent.delivery_id, "SHRUG")


class Breaking(rpc.DeliveryServiceServicer):
    """A watch that breaks after each change, in a way that the test names."""

    def __init__(self, *breaks: Any) -> None:
        self.cursors: list[int] = []
        self._breaks = list(breaks)

    def WatchDelivery(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        self.cursors.append(request.cursor)
        yield pb.WatchDeliveryResponse(cursor=request.cursor + 1, state=delivery_pb2.DELIVERY_STATE_SENDING)
        if self._breaks:
            answer = self._breaks.pop(0)
            context.set_trailing_metadata(answer.trailing())
            context.abort(answer.code, answer.text)


@contextmanager
def serving(servicer: Breaking) -> Iterator[str]:
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        rpc.add_DeliveryServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


async def watched(kind: type[Client | AsyncClient], address: str) -> list[DeliveryChange]:
    if kind is Client:
        with Client(address) as client:
            return list(client.watch_delivery("1"))
    async with AsyncClient(address) as client:
        return [change async for change in client.watch_delivery("1")]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_watch_that_breaks_goes_on_where_it_was(kind: type[Client | AsyncClient]) -> None:
    stopping = failure(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    bare = failure(grpc.StatusCode.UNAVAILABLE, "")
    bare.details = ()
    servicer = Breaking(stopping, bare)
    with serving(servicer) as address:
        changes = await watched(kind, address)
    assert servicer.cursors == [0, 1, 2]
    assert [change.cursor for change in changes] == [1, 2, 3]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_a_watch_that_is_refused_is_over(kind: type[Client | AsyncClient]) -> None:
    servicer = Breaking(failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVICE_OVERLOADED"))
    with serving(servicer) as address, pytest.raises(RateLimited):
        await watched(kind, address)
    assert servicer.cursors == [0]
