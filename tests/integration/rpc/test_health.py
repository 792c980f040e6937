"""What health says of the server and of each service, with a store, without one, and while it is away."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import grpc

from harness.documents import document_for
from harness.inbox import Inbox
from harness.service import is_healthy, running_service
from smtpconnector.v1 import connector_service_pb2_grpc, delivery_service_pb2_grpc
from smtpconnector_server.outbox.lease import LEASE_SECONDS, Leases
from smtpconnector_server.rpc.server import DELIVERY_SERVICE_NAME, SERVICE_NAME, RpcServer
from smtpconnector_server.store.sqlite import SqliteStore
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from pathlib import Path

EVERY = ("", SERVICE_NAME, DELIVERY_SERVICE_NAME)


async def becomes(channel: grpc.aio.Channel, *, healthy: bool) -> None:
    """Wait until the health of DeliveryService is so."""
    async with asyncio.timeout(10):
        while await is_healthy(channel, DELIVERY_SERVICE_NAME) is not healthy:  # noqa: ASYNC110 - health is asked for
            await asyncio.sleep(0.05)


async def test_without_a_store_all_but_the_service_of_deliveries_is_healthy(tmp_path: Path) -> None:
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        assert [await service.is_healthy(name) for name in EVERY] == [True, True, False]


async def test_with_a_store_all_is_healthy(tmp_path: Path) -> None:
    store = str(tmp_path / "store.db")
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path, store=store) as service:
        await becomes(service.channel, healthy=True)
        assert [await service.is_healthy(name) for name in EVERY] == [True, True, True]


async def test_a_store_that_goes_and_comes_back_takes_the_service_of_deliveries_with_it() -> None:
    is_there = True
    server = RpcServer(
        cast("Any", connector_service_pb2_grpc.ConnectorServiceServicer()),  # none of it is called
        cast("Any", delivery_service_pb2_grpc.DeliveryServiceServicer()),
        "127.0.0.1:0",
        hook=lambda _event: None,
    )
    await server.start()
    following = asyncio.create_task(server.follow_store(lambda: is_there))
    async with grpc.aio.insecure_channel(server.address) as channel:
        await becomes(channel, healthy=True)
        is_there = False
        await becomes(channel, healthy=False)
        assert [await is_healthy(channel, name) for name in ("", SERVICE_NAME)] == [True, True]
        is_there = True
        await becomes(channel, healthy=True)
    following.cancel()
    await server.drain(0.0)


async def test_a_store_is_there_while_it_takes_the_beats_of_this_server(tmp_path: Path) -> None:
    now = 100.0
    store = await SqliteStore.open(tmp_path / "store.db")
    leases = Leases(store, clock=lambda: now)
    assert not leases.is_store_there
    await leases.renew()
    assert leases.is_store_there
    leases.retire()  # under another name from now on
    assert leases.is_store_there
    await store.close()
    with suppress(StoreError):
        await leases.renew()
    assert leases.is_store_there
    now += LEASE_SECONDS
    assert not leases.is_store_there
