"""Servers on one store tell each other which SMTP servers are not to be asked for a while, and when they work again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness.certificates import ca_pem, server_context
from harness.documents import document_for
from harness.fault import Fault, State, close
from harness.metrics_page import MetricsReader
from harness.sasl import Credentials
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.outbox.shared_pauses import SharedPauses
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.events import BreakerOpened, PauseHeard, WireEvent
from smtpconnector_server.smtp.pool import SessionPool
from smtpconnector_server.store.keyring import Keyring, fresh_key
from smtpconnector_server.store.sealing import Sealer
from smtpconnector_server.store.sqlite import SqliteStore
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.databases import Database
    from smtpconnector_server.config.model import LoginAuth, Server
    from smtpconnector_server.smtp.envelope import Envelope
    from smtpconnector_server.store.store import Store

ServerFor = Callable[..., "Server"]
Login = Callable[..., "LoginAuth"]
SEALER = Sealer(Keyring.parse(fresh_key(), "the test"), bytes(32))


class Machine:
    """One server of the service, as far as it sends."""

    def __init__(self, store: Store, envelope: Envelope, message: bytes, *, first_pause: float) -> None:
        self.told: list[WireEvent] = []
        self.pool = SessionPool(dialer=Dialer(), hook=self.told.append, first_pause=first_pause)
        self._pauses = SharedPauses(store, SEALER, self.pool)
        self._envelope, self._message = envelope, message

    async def exchange(self) -> None:
        await self._pauses.exchange()

    async def send(self, server: Server) -> Failure | None:
        try:
            async with self.pool.session(server) as session:
                await session.send(self._envelope, self._message)
        except Failure as failure:
            return failure
        return None

    def knows(self, server: Server) -> None:
        """Have sent by a server before, long ago."""
        self.pool._pool(server)

    def heard(self) -> list[Reason]:
        return [event.reason for event in self.told if isinstance(event, PauseHeard)]


NewMachine = Callable[..., Any]


@pytest.fixture
async def new_machine(database: Database, envelope: Envelope, message: bytes) -> AsyncIterator[NewMachine]:
    machines: list[Machine] = []

    async def new_machine(*, first_pause: float = 30.0, store: Store | None = None) -> Machine:
        machines.append(Machine(store or await database.open(), envelope, message, first_pause=first_pause))
        return machines[-1]

    yield new_machine
    for machine in machines:
        await machine.pool.close(0.0)


async def test_a_refused_password_is_tried_by_one_server_alone(
    server_for: ServerFor, login: Login, new_machine: NewMachine
) -> None:
    one, other = await new_machine(), await new_machine()
    async with SmtpServer(tls=server_context(), credentials=Credentials()) as smtp:
        server = server_for(smtp, auth=login(password="wrong"))
        other.knows(server)
        await one.send(server)
        await one.exchange()
        await other.exchange()
        failure = await other.send(server)
        assert failure is not None
        assert (failure.reason, failure.stage, failure.outcome) == (
            Reason.SMTP_AUTH_FAILED,
            Stage.POOL,
            Outcome.NOT_SENT,
        )
        assert 0 < (failure.retry_after or 0) <= 32
        assert other.heard() == [Reason.SMTP_AUTH_FAILED]
        assert one.heard() == []
        assert sum(session.verbs.count(b"AUTH") for session in smtp.sessions) == 1

        corrected = server_for(smtp, auth=login())  # in the other's profile, so far
        other.knows(corrected)
        await other.exchange()
        assert await other.send(corrected) is None


async def test_a_server_that_is_down_for_one_is_left_alone_by_all_until_it_works_for_one(
    server_for: ServerFor, new_machine: NewMachine, database: Database
) -> None:
    one, other = await new_machine(first_pause=0.6), await new_machine()
    faults = [Fault(State.GREETING, close, connection=number) for number in (1, 2, 3)]
    async with SmtpServer(*faults) as smtp:
        server = server_for(smtp)
        other.knows(server)
        for _ in range(3):
            assert await one.send(server) is not None
        await one.exchange()
        await other.exchange()
        assert await other.send(server) is not None
        assert other.heard() == [Reason.SMTP_CONNECTION_LOST]
        assert len(smtp.sessions) == 3

        await database.advance(10.0)
        while await one.send(server) is not None:  # noqa: ASYNC110 - until its pause has ended
            await asyncio.sleep(0.05)
        await one.exchange()
        async with asyncio.timeout(10):
            while await other.send(server) is not None:
                await other.exchange()


async def test_what_works_here_is_not_left_alone_because_it_does_not_work_elsewhere(
    server_for: ServerFor, new_machine: NewMachine
) -> None:
    one, other = await new_machine(), await new_machine()
    faults = [Fault(State.GREETING, close, connection=number) for number in (2, 3, 4)]
    async with SmtpServer(*faults) as smtp:
        server = server_for(smtp)
        assert await other.send(server) is None
        for _ in range(3):
            assert await one.send(server) is not None
        assert any(isinstance(event, BreakerOpened) for event in one.told)
        await one.exchange()
        await other.exchange()
        assert other.heard() == []
        assert await other.send(server) is None
        await other.exchange()
        await one.exchange()
        assert await one.send(server) is not None  # the other, which never paused, takes nothing back


async def test_a_pause_that_is_taken_back_is_over_for_all(
    server_for: ServerFor, login: Login, new_machine: NewMachine
) -> None:
    one, other, third = await new_machine(), await new_machine(), await new_machine()
    async with SmtpServer() as smtp:
        server = server_for(smtp)
        for machine in (one, other, third):
            machine.knows(server)
        ((_, pool),) = one.pool.servers()
        pool._breaker.fail(Failure(Reason.SMTP_RATE_LIMITED, "no", stage=Stage.GREETING, retry_after=50.0), _now(pool))
        for machine in (one, other, third):
            await machine.exchange()
        assert [await machine.send(server) is None for machine in (one, other, third)] == [False] * 3
        pool._breaker.relieve(_now(pool))  # as if its time had come
        assert await one.send(server) is None
        for machine in (one, other, third):
            await machine.exchange()
        assert [await machine.send(server) for machine in (other, third)] == [None, None]


def _now(pool: Any) -> float:
    now: float = pool._loop.time()
    return now


async def test_a_server_that_begins_in_a_pause_keeps_it(
    server_for: ServerFor, login: Login, new_machine: NewMachine
) -> None:
    one, other = await new_machine(), await new_machine()
    async with SmtpServer(tls=server_context(), credentials=Credentials()) as smtp:
        server = server_for(smtp, auth=login(password="wrong"))
        await one.send(server)
        await one.exchange()
        await other.exchange()
        failure = await other.send(server)
        assert failure is not None
        assert (failure.reason, failure.stage) == (Reason.SMTP_AUTH_FAILED, Stage.POOL)
        assert sum(session.verbs.count(b"AUTH") for session in smtp.sessions) == 1


async def test_without_the_store_everything_goes_on(
    server_for: ServerFor, new_machine: NewMachine, tmp_path: Path
) -> None:
    store = await SqliteStore.open(tmp_path / "away.db")
    machine = await new_machine(store=store)
    await store.close()
    async with SmtpServer(Fault(State.GREETING, close, connection=1)) as smtp:
        server = server_for(smtp)
        await machine.send(server)
        with pytest.raises(StoreError):
            await machine.exchange()
        assert await machine.send(server) is None


async def test_services_on_one_store_try_a_wrong_password_once(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with SmtpServer(tls=server_context(), implicit_tls=True, credentials=Credentials()) as smtp:
        auth = {"user": Credentials().user, "pass": "wrong"}
        profiles = {"default": document_for(smtp, secure=True, tls={"ca": ca_pem()}, auth=auth)}
        settings: dict[str, Any] = {"store": str(tmp_path / "store.db"), "metrics_listen": "127.0.0.1:0"}
        call: dict[str, Any] = {"to": "ada@example.com", "type": "SignIn"}
        async with (
            running_service(profiles, folders[0], **settings) as one,
            running_service(profiles, folders[1], **settings) as other,
        ):
            assert (await one.send_refused(**call)).reason == "SMTP_AUTH_FAILED"
            metrics = [MetricsReader(service.metrics_address or "") for service in (one, other)]
            told = {"name": "store_seconds_count", "operation": "report_server"}
            await metrics[0].value_that(bool, **told)
            looks = {"name": "store_seconds_count", "operation": "paused_servers"}
            before = await metrics[1].value(**looks) or 0.0
            await metrics[1].value_that(lambda count: (count or 0.0) >= before + 2, **looks)
            error = await other.send_refused(**call)
            assert (error.reason, error.metadata["stage"]) == ("SMTP_AUTH_FAILED", "POOL")
            assert sum(session.verbs.count(b"AUTH") for session in smtp.sessions) == 1
