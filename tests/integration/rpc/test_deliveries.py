"""What became of a message, over the wire: asked for, watched, listed, cancelled and resolved."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from harness.documents import document_for
from harness.fault import Fault, State, close, stall
from harness.inbox import Inbox
from harness.service import CallError, Service, running_service
from harness.smtp_server import SmtpServer
from smtpconnector import AsyncClient, DeliveryMode, DeliveryState
from smtpconnector.v1 import (
    connector_service_pb2,
    connector_service_pb2_grpc,
    delivery_pb2,
    delivery_service_pb2_grpc,
)
from smtpconnector.v1 import delivery_service_pb2 as pb
from smtpconnector_server.app import running_server
from smtpconnector_server.config.profile import load_profile
from smtpconnector_server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

SENT = delivery_pb2.DELIVERY_STATE_SENT
SENDING = delivery_pb2.DELIVERY_STATE_SENDING
QUEUED = delivery_pb2.DELIVERY_STATE_QUEUED
UNKNOWN = delivery_pb2.DELIVERY_STATE_UNKNOWN
CANCELLED = delivery_pb2.DELIVERY_STATE_CANCELLED
MAIL = {"to": "ada@example.com", "type": "SignIn", "delivery_mode": delivery_pb2.DELIVERY_MODE_ENQUEUE}


@asynccontextmanager
async def durable(server: Inbox | SmtpServer, folder: Path, **settings: Any) -> AsyncIterator[Service]:
    document = {**document_for(server), "port": server.port}
    async with running_service(
        {"default": document, "other": document}, folder, store=str(folder / "store.db"), **settings
    ) as service:
        yield service


@asynccontextmanager
async def good(folder: Path) -> AsyncIterator[Service]:
    async with Inbox() as inbox, durable(inbox, folder) as service:
        yield service


async def refused(call: Awaitable[Any]) -> CallError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return CallError(raised.value)


async def watched(stub: delivery_service_pb2_grpc.DeliveryServiceAsyncStub, **fields: Any) -> list[Any]:
    return [change async for change in stub.WatchDelivery(pb.WatchDeliveryRequest(**fields), timeout=20)]


def _told(changes: list[Any]) -> list[Any]:
    return [(change.cursor, change.state, change.time.ToNanoseconds(), change.reason) for change in changes]


async def has_become(service: Service, delivery_id: str, state: int) -> pb.Delivery:
    async for change in service.deliveries.WatchDelivery(pb.WatchDeliveryRequest(id=delivery_id), timeout=20):
        if change.state == state:
            return change.delivery
    raise AssertionError("it never did")


async def test_a_message_is_watched_to_its_end_and_told_by_both_of_its_names(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        answer = await service.send(**MAIL, request_id="order 1")
        changes = await watched(service.deliveries, id=answer.delivery_id)
        assert [change.cursor for change in changes] == list(range(1, len(changes) + 1))
        assert changes[-1].state == SENT
        assert not changes[-1].reason
        assert _told(changes) == _told(await watched(service.deliveries, request_id="order 1"))
        for name in ({"id": answer.delivery_id}, {"request_id": "order 1"}):
            delivery = (await service.deliveries.GetDelivery(pb.GetDeliveryRequest(**name), timeout=10)).delivery
            assert delivery == changes[-1].delivery
        assert (delivery.id, delivery.caller, delivery.profile) == (answer.delivery_id, "anybody", "default")
        assert delivery.message_id == answer.message_id
        assert (delivery.attempts, delivery.reply.code, delivery.state) == (1, 250, SENT)
        assert delivery.delivery_mode == delivery_pb2.DELIVERY_MODE_ENQUEUE
        assert delivery.uncertain_policy == delivery_pb2.UNCERTAIN_POLICY_HOLD
        assert (
            delivery.create_time.ToDatetime() <= delivery.update_time.ToDatetime() < delivery.expire_time.ToDatetime()
        )
        assert not delivery.HasField("failure")
        assert not delivery.HasField("next_attempt_time")


async def test_no_library_enqueues_a_message_twice_that_has_no_id_to_know_it_by(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        for request_id, is_forbidden in (("", True), ("1", False)):
            call = service.stub.SendMessage(
                connector_service_pb2.SendMessageRequest(**MAIL, request_id=request_id), timeout=10
            )
            await call
            headers = dict(await call.initial_metadata())
            assert ("smtpconnector-committed" in headers) is is_forbidden


async def test_a_watch_goes_on_after_its_cursor(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        answer = await service.send(**MAIL)
        changes = await watched(service.deliveries, id=answer.delivery_id)
        for seen in range(1, len(changes) + 1):
            later = await watched(service.deliveries, id=answer.delivery_id, cursor=seen)
            assert _told(later) == _told(changes[seen:])


async def test_a_change_is_told_when_it_happens_and_a_cancelled_message_never_leaves(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.MAIL, stall)) as server, durable(server, tmp_path, grace=0.1) as service:
        answer = await service.send(**MAIL)
        watch = service.deliveries.WatchDelivery(pb.WatchDeliveryRequest(id=answer.delivery_id), timeout=20)
        states = []
        async for change in watch:
            states.append(change.state)
            if change.state == SENDING:
                await server.reached(State.MAIL)
                for _ in range(2):
                    cancelled = await service.deliveries.CancelDelivery(
                        pb.CancelDeliveryRequest(id=answer.delivery_id), timeout=10
                    )
                    assert cancelled.delivery.state == CANCELLED
        assert states[-2:] == [SENDING, CANCELLED]


async def test_a_message_that_has_left_cannot_be_cancelled(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        answer = await service.send(**MAIL)
        await has_become(service, answer.delivery_id, SENT)
        error = await refused(service.deliveries.CancelDelivery(pb.CancelDeliveryRequest(id=answer.delivery_id)))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DELIVERY_STATE_CONFLICT")
        assert "SENT" in error.text
        assert "PreconditionFailure" in error.details


async def test_a_held_message_is_dropped_for_good(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.ACCEPTED, close)) as server, durable(server, tmp_path) as service:
        answer = await service.send(**MAIL)
        delivery = await has_become(service, answer.delivery_id, UNKNOWN)
        assert delivery.held
        assert (delivery.failure.reason, delivery.failure.stage) == ("DELIVERY_UNCERTAIN", "MESSAGE")
        drop = pb.ResolveDeliveryRequest(id=answer.delivery_id, resolution=pb.RESOLUTION_DROP)
        for _ in range(2):
            dropped = (await service.deliveries.ResolveDelivery(drop, timeout=10)).delivery
            assert (dropped.state, dropped.held) == (UNKNOWN, False)
        again = pb.ResolveDeliveryRequest(id=answer.delivery_id, resolution=pb.RESOLUTION_SEND_AGAIN)
        error = await refused(service.deliveries.ResolveDelivery(again, timeout=10))
        assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DELIVERY_STATE_CONFLICT")


@asynccontextmanager
async def resending(folder: Path) -> AsyncIterator[tuple[Service, str]]:
    """A held message that was let go again, and whose second attempt does not get far."""
    faults = (Fault(State.ACCEPTED, close, connection=1), Fault(State.MAIL, stall, connection=2))
    async with SmtpServer(*faults) as server, durable(server, folder, grace=0.1) as service:
        answer = await service.send(**MAIL)
        await has_become(service, answer.delivery_id, UNKNOWN)
        again = pb.ResolveDeliveryRequest(id=answer.delivery_id, resolution=pb.RESOLUTION_SEND_AGAIN)
        assert (await service.deliveries.ResolveDelivery(again, timeout=10)).delivery.state == QUEUED
        yield service, answer.delivery_id


async def test_a_held_message_is_sent_again_once(tmp_path: Path) -> None:
    async with resending(tmp_path) as (service, delivery_id):
        again = pb.ResolveDeliveryRequest(id=delivery_id, resolution=pb.RESOLUTION_SEND_AGAIN)
        error = await refused(service.deliveries.ResolveDelivery(again, timeout=10))
        assert error.reason == "DELIVERY_STATE_CONFLICT"


async def test_a_resend_that_is_cancelled_is_told_that_its_mail_may_have_arrived(tmp_path: Path) -> None:
    async with resending(tmp_path) as (service, delivery_id):
        cancel = pb.CancelDeliveryRequest(id=delivery_id)
        error = await refused(service.deliveries.CancelDelivery(cancel, timeout=10))
        assert error.reason == "DELIVERY_STATE_CONFLICT"
        assert "may have arrived" in error.text
        assert not (await has_become(service, delivery_id, UNKNOWN)).held


async def test_messages_are_listed_page_by_page_the_newest_first(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        ids = []
        for number in range(5):
            ids.append((await service.send(**MAIL, request_id=str(number))).delivery_id)
            await has_become(service, ids[-1], SENT)
        found, token = [], ""
        while True:
            page = await service.deliveries.ListDeliveries(
                pb.ListDeliveriesRequest(page_size=2, page_token=token), timeout=10
            )
            found += [delivery.id for delivery in page.deliveries]
            token = page.next_page_token
            if not token:
                break
            assert len(page.deliveries) == 2
        assert sorted(found) == sorted(ids)
        assert found == sorted(found, reverse=True)


async def test_a_list_keeps_to_its_filters(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        first = await has_become(service, (await service.send(**MAIL)).delivery_id, SENT)
        config = connector_service_pb2.SendMessageRequest(config={"profile": "other"}).config
        other = await has_become(service, (await service.send(**MAIL, config=config)).delivery_id, SENT)

        async def listed(**fields: Any) -> list[str]:
            page = await service.deliveries.ListDeliveries(pb.ListDeliveriesRequest(**fields), timeout=10)
            return [delivery.id for delivery in page.deliveries]

        assert await listed() == [other.id, first.id]
        assert await listed(states=[SENT, QUEUED]) == [other.id, first.id]
        assert await listed(states=[QUEUED]) == []
        assert await listed(profile="other") == [other.id]
        assert await listed(created_after=other.create_time) == [other.id]
        assert await listed(created_before=other.create_time) == [first.id]


async def test_a_page_token_is_of_its_list_only(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        for _ in range(2):
            await has_become(service, (await service.send(**MAIL)).delivery_id, SENT)
        page = await service.deliveries.ListDeliveries(pb.ListDeliveriesRequest(page_size=1), timeout=10)
        for token, states in ((page.next_page_token, [SENT]), (page.next_page_token[:-1], []), ("é !", []), ("x", [])):
            error = await refused(
                service.deliveries.ListDeliveries(pb.ListDeliveriesRequest(page_token=token, states=states), timeout=10)
            )
            assert (error.reason, error.fields) == ("INVALID_REQUEST", ["page_token"])


async def test_an_error_that_is_about_no_mail_says_no_outcome(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        error = await refused(service.deliveries.GetDelivery(pb.GetDeliveryRequest(request_id="none"), timeout=10))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DELIVERY_NOT_FOUND")
        assert "outcome" not in error.metadata


async def test_a_watch_of_nothing_ends_with_the_same_error(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        error = await refused(watched(service.deliveries, id="0" * 32))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DELIVERY_NOT_FOUND")
        error = await refused(watched(service.deliveries))
        assert (error.reason, error.fields) == ("INVALID_REQUEST", ["id", "request_id"])


async def test_octets_that_are_no_request_are_refused_by_a_stream_too(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        call: Any = service.channel.unary_stream("/smtpconnector.v1.DeliveryService/WatchDelivery")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(b"\xff\xff", timeout=10).read()
        assert CallError(raised.value).reason == "INVALID_REQUEST"


async def test_without_a_store_every_method_says_what_the_operator_can_do(tmp_path: Path) -> None:
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        stub = service.deliveries
        for call in (
            stub.GetDelivery(pb.GetDeliveryRequest(id="x"), timeout=10),
            watched(stub, id="x"),
            stub.ListDeliveries(pb.ListDeliveriesRequest(), timeout=10),
            stub.CancelDelivery(pb.CancelDeliveryRequest(id="x"), timeout=10),
            stub.ResolveDelivery(pb.ResolveDeliveryRequest(id="x", resolution=pb.RESOLUTION_DROP), timeout=10),
            # before anything is said of a request that would be refused anyway
            stub.ListDeliveries(pb.ListDeliveriesRequest(page_size=-1), timeout=10),
            stub.ResolveDelivery(pb.ResolveDeliveryRequest(), timeout=10),
        ):
            error = await refused(call)
            assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
            assert "--store" in error.text


async def test_a_server_that_stops_ends_its_watches_at_once(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.MAIL, stall)) as server:
        flags = _flags(server, tmp_path, grace=1.0)
        async with AsyncExitStack() as stopping, AsyncExitStack() as stack:
            running = await stopping.enter_async_context(running_server(load_settings(flags), _profiles(tmp_path)))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(running.address))
            service = Service(connector_service_pb2_grpc.ConnectorServiceStub(channel), channel, running.address)
            answer = await service.send(**MAIL)
            watch = service.deliveries.WatchDelivery(pb.WatchDeliveryRequest(id=answer.delivery_id), timeout=60)
            while (await watch.read()).state != SENDING:
                pass
            drained = asyncio.ensure_future(stopping.aclose())
            error = await refused(_read_on(watch))
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            assert not drained.done()
            await drained


async def test_a_clients_watch_outlives_the_server_that_it_began_at(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.MAIL, stall, connection=1)) as server, AsyncExitStack() as first:
        flags = _flags(server, tmp_path, grace=0.1)
        running = await first.enter_async_context(running_server(load_settings(flags), _profiles(tmp_path)))
        async with AsyncClient(running.address) as client:
            sent = await client.send_message(
                "ada@example.com", "SignIn", request_id="1", delivery_mode=DeliveryMode.ENQUEUE
            )
            states = []
            async for change in client.watch_delivery(sent.delivery_id, timeout=60):
                states.append(change.state)
                if change.state is DeliveryState.SENDING and DeliveryState.SENDING not in states[:-1]:
                    await server.reached(State.MAIL)
                    await first.aclose()
                    flags["listen"] = running.address
                    await first.enter_async_context(running_server(load_settings(flags), _profiles(tmp_path)))
            assert states[-3:] == [DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT]
    assert len(server.ledger) == 1


async def test_a_watch_counts_as_a_call_until_its_caller_goes(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.MAIL, stall)) as server,
        durable(server, tmp_path, grace=0.1, max_calls=1) as service,
    ):
        answer = await service.send(**MAIL)
        watch = service.deliveries.WatchDelivery(pb.WatchDeliveryRequest(id=answer.delivery_id), timeout=60)
        await watch.read()
        get = pb.GetDeliveryRequest(id=answer.delivery_id)
        assert (await refused(service.deliveries.GetDelivery(get, timeout=10))).reason == "SERVICE_OVERLOADED"
        watch.cancel()
        async with asyncio.timeout(10):
            while True:
                try:
                    await service.deliveries.GetDelivery(get, timeout=10)
                except grpc.aio.AioRpcError as error:
                    assert CallError(error).reason == "SERVICE_OVERLOADED"  # noqa: PT017 - the only one allowed
                else:
                    break


async def test_health_and_reflection_know_the_service(tmp_path: Path) -> None:
    async with good(tmp_path) as service:
        health: Any = health_pb2_grpc.HealthStub(service.channel)
        name = pb.DESCRIPTOR.services_by_name["DeliveryService"].full_name
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)
        call = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
        )
        listed = await call.read()
        assert name in {service.name for service in listed.list_services_response.service}


CALLERS = """
[principals.shop]
token_sha256 = ["{shop}"]

[principals.desk]
token_sha256 = ["{desk}"]

[principals.admin]
token_sha256 = ["{admin}"]
operator = true
"""


async def test_a_caller_sees_his_own_messages_and_an_operator_everybodys(tmp_path: Path) -> None:
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("shop", "desk", "admin")}
    (tmp_path / "callers.toml").write_text(CALLERS.format(**hashes), encoding="utf-8")
    async with SmtpServer(Fault(State.ACCEPTED, close)) as server:
        flags = _flags(server, tmp_path, grace=0.1, auth_tokens=tmp_path / "callers.toml")
        async with (
            running_server(load_settings(flags), _profiles(tmp_path)) as running,
            grpc.aio.insecure_channel(running.address) as channel,
        ):
            service = Service(connector_service_pb2_grpc.ConnectorServiceStub(channel), channel, running.address)
            stub = service.deliveries

            def showing(token: str) -> dict[str, Any]:
                return {"timeout": 10, "metadata": [("authorization", f"Bearer {token}")]}

            mail = connector_service_pb2.SendMessageRequest(**MAIL, request_id="1")
            sent = await service.stub.SendMessage(mail, **showing("shop"))
            by_id, by_request = pb.GetDeliveryRequest(id=sent.delivery_id), pb.GetDeliveryRequest(request_id="1")
            assert (await stub.GetDelivery(by_id, **showing("shop"))).delivery.caller == "shop"
            assert (await stub.GetDelivery(by_request, **showing("shop"))).delivery.id == sent.delivery_id
            assert (await stub.GetDelivery(by_id, **showing("admin"))).delivery.caller == "shop"
            for call in (
                stub.GetDelivery(by_id, **showing("desk")),
                stub.GetDelivery(by_request, **showing("desk")),
                stub.GetDelivery(by_request, **showing("admin")),
                stub.WatchDelivery(pb.WatchDeliveryRequest(id=sent.delivery_id), **showing("desk")).read(),
                stub.CancelDelivery(pb.CancelDeliveryRequest(id=sent.delivery_id), **showing("desk")),
            ):
                error = await refused(call)
                assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DELIVERY_NOT_FOUND")
            for token, seen in (("shop", [sent.delivery_id]), ("desk", []), ("admin", [sent.delivery_id])):
                page = await stub.ListDeliveries(pb.ListDeliveriesRequest(), **showing(token))
                assert [delivery.id for delivery in page.deliveries] == seen
            async for _ in stub.WatchDelivery(pb.WatchDeliveryRequest(id=sent.delivery_id), **showing("shop")):
                pass
            drop = pb.ResolveDeliveryRequest(id=sent.delivery_id, resolution=pb.RESOLUTION_DROP)
            for token in ("shop", "desk"):
                error = await refused(stub.ResolveDelivery(drop, **showing(token)))
                assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
            assert (await stub.ResolveDelivery(drop, **showing("admin"))).delivery.state == UNKNOWN


async def _read_on(watch: Any) -> None:
    while await watch.read():
        pass


def _flags(server: SmtpServer, folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "default.json").write_text(json.dumps({**document_for(server), "port": server.port}), encoding="utf-8")
    return {"listen": "127.0.0.1:0", "store": str(folder / "store.db"), **more}


def _profiles(folder: Path) -> dict[str, Any]:
    return {"default": load_profile(folder / "default.json")}
