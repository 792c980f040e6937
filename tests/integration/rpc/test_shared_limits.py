"""Limits on mails that several servers count together through their store, and each alone while it is away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.servers.postgres import running_postgres
from harness.service import running_service
from smtpconnector.v1 import delivery_pb2, validation_pb2
from smtpconnector_server.failure import Failure, Reason
from smtpconnector_server.message.address import parse_address
from smtpconnector_server.rpc.events import LimitCountedAlone, LimitsShared
from smtpconnector_server.rpc.limits import Limits, LimitSettings
from smtpconnector_server.rpc.rates import Rate
from smtpconnector_server.rpc.shared_rates import SharedRates
from smtpconnector_server.store.keyring import Keyring, fresh_key
from smtpconnector_server.store.sealing import Sealer
from smtpconnector_server.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from harness.databases import Database
    from smtpconnector_server.rpc.events import CallEvent
    from smtpconnector_server.store.store import Store

ADA = parse_address("Ada+news@example.com")
SEALER = Sealer(Keyring.parse(fresh_key(), "the test"), bytes(32))


class HungStore:
    """A store that does not answer, until it is told to."""

    def __init__(self) -> None:
        self.answers = False
        self.asked = 0

    async def take(self, _key: bytes, _windows: object) -> float:
        self.asked += 1
        if not self.answers:
            await asyncio.Event().wait()
        return 0.0


class Server:
    """The limits of one server, and what they tell."""

    def __init__(self, store: Store | HungStore, *, within: float = 20.0, **rates: tuple[Rate, ...]) -> None:
        self.events: list[CallEvent] = []
        self.now = 0.0
        self.shared = SharedRates(
            cast("Store", store), SEALER, self.events.append, within=within, clock=lambda: self.now
        )
        self.limits = Limits(LimitSettings(calls=1, calls_per_caller=1, **rates), self.shared)

    async def allows(self, client_ip: str = "", profile: str | None = None) -> bool:
        try:
            await self.limits.count_mail(ADA, client_ip=client_ip, profile=profile)
        except Failure as failure:
            return failure.reason is not Reason.LOCAL_RATE_LIMITED
        return True


@pytest.fixture
async def stores(database: Database) -> list[Store]:
    """One database as two servers have it."""
    return [await database.open(), await database.open()]


async def test_two_servers_allow_exactly_what_one_would_however_many_come_at_once(stores: list[Store]) -> None:
    servers = [Server(store, recipient=(Rate(7, 3600),)) for store in stores]
    answers = await asyncio.gather(*(server.allows() for _ in range(20) for server in servers))
    assert answers.count(True) == 7
    assert all(server.events == [] for server in servers)


async def test_one_limit_that_is_reached_leaves_the_others_keys_alone(stores: list[Store]) -> None:
    one, other = (Server(store, client_ip=(Rate(1, 3600),), profile=(Rate(2, 3600),)) for store in stores)
    assert await one.allows("2001:db8::1", "shop")
    assert not await other.allows("2001:DB8:0::1", "shop")  # the same address, written in another way
    assert await other.allows("2001:db8::2", "shop")
    assert not await one.allows("2001:db8::3", "shop")
    assert await one.allows("2001:db8::4", "forum")


async def test_without_the_store_a_server_goes_on_alone_from_where_it_was(tmp_path: Path) -> None:
    stores = [await SqliteStore.open(tmp_path / "store.db") for _ in range(2)]
    one, other = (Server(store, recipient=(Rate(3, 3600),)) for store in stores)
    assert await one.allows()
    assert await other.allows()
    for store in stores:
        await store.close()
    assert [await one.allows() for _ in range(4)] == [True, True, False, False]
    (first, second) = one.events
    assert isinstance(first, LimitCountedAlone)
    assert first.error
    assert second == LimitCountedAlone(error=None)


async def test_a_store_that_hangs_is_waited_for_once_and_asked_again_later() -> None:
    store = HungStore()
    server = Server(store, within=0.05, recipient=(Rate(5, 3600),))
    async with asyncio.timeout(5):
        assert [await server.allows() for _ in range(3)] == [True, True, True]
    assert store.asked == 1
    store.answers = True
    server.now += 10.0
    assert await server.allows()
    assert [type(event) for event in server.events] == [LimitCountedAlone] * 3 + [LimitsShared]
    assert store.asked == 2


async def test_too_many_for_one_key_do_not_make_the_store_lost() -> None:
    store = HungStore()
    server = Server(store, within=0.2, recipient=(Rate(5, 3600),), profile=(Rate(5, 3600),))
    turn = server.shared._turns.setdefault(server.shared.key("recipient", "ada@example.com"), asyncio.Lock())
    store.answers = True
    async with turn:
        assert await server.allows(profile="shop")
    assert store.asked == 1  # about the profile
    assert server.events == [LimitCountedAlone(error=None)]


async def test_what_is_refused_here_is_not_asked_of_the_store() -> None:
    store = HungStore()
    store.answers = True
    server = Server(store, recipient=(Rate(1, 3600),))
    assert [await server.allows() for _ in range(5)] == [True, False, False, False, False]
    assert store.asked == 1


async def test_nothing_is_asked_where_no_limit_is_set() -> None:
    store = HungStore()
    server = Server(store)
    assert await server.allows("192.0.2.1", "shop")
    assert store.asked == 0


async def test_services_on_one_store_share_the_budget_of_mails_queued_mails_and_checks(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"limit_profile": "3/hour", "store": str(tmp_path / "store.db")}
    call: dict[str, Any] = {"to": "ada@example.com", "type": "SignIn"}
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with Inbox() as inbox:
        profiles = {"default": document_for(inbox)}
        async with (
            running_service(profiles, folders[0], **settings) as one,
            running_service(profiles, folders[1], **settings) as other,
        ):
            await one.send(**call)
            await other.send(
                **call,
                request_id="1b9bb5b0-7c3a-4d0e-9d2a-000000000001",
                delivery_mode=delivery_pb2.DELIVERY_MODE_ENQUEUE,
            )
            await one.validate(config={"profile": "default"}, depth=validation_pb2.DEPTH_AUTHENTICATE)
            for service in (one, other):
                assert (await service.send_refused(**call)).reason == "LOCAL_RATE_LIMITED"


@pytest.mark.needs_server("postgres")
@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_mails_that_need_no_store_go_out_while_the_database_is_away(how: str, tmp_path: Path) -> None:
    key = tmp_path / "store.key"
    key.write_text(fresh_key(), encoding="ascii")
    key.chmod(0o600)
    with running_postgres() as postgres:
        settings = {"store": postgres.url(postgres.new_database()), "store_key": str(key), "limit_profile": "3/hour"}
        call: dict[str, Any] = {"to": "ada@example.com", "type": "SignIn"}
        async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path, **settings) as service:
            await service.send(**call)
            (postgres.freeze if how == "frozen" else postgres.stop)()
            try:
                await service.send(**call)
                await service.send(**call)
                assert (await service.send_refused(**call)).reason == "LOCAL_RATE_LIMITED"
            finally:
                (postgres.thaw if how == "frozen" else postgres.start)()
            assert len(inbox.mails) == 3
