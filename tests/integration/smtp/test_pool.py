from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.certificates import server_context
from harness.fault import Fault, State, close, reply_and_close, reply_with, stall
from harness.sasl import Credentials
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import LoginAuth, PoolLimits, Server, Timeouts
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.events import (
    BreakerClosed,
    BreakerOpened,
    SessionAwaited,
    SessionClosed,
    SessionFailed,
    SessionOpened,
    TransactionEnded,
    WireEvent,
)
from smtpconnector_server.smtp.pool import SessionPool

if TYPE_CHECKING:
    from smtpconnector_server.smtp.envelope import Envelope

ServerFor = Callable[..., Server]
Login = Callable[..., LoginAuth]
Send = Callable[..., Any]


@pytest.fixture
def send(pool: SessionPool, envelope: Envelope, message: bytes) -> Send:
    """Send a mail through the pool and return whether its session had been used before."""

    async def send_one(server: Server) -> bool:
        async with pool.session(server) as session:
            await session.send(envelope, message)
            return session.was_used

    return send_one


async def failure_of(sending: Any) -> Failure:
    with pytest.raises(Failure) as raised:
        await sending
    return raised.value


async def settle() -> None:
    """Let everybody go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)


# Lending


async def test_lends_the_same_session_again(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp)
        assert [await send(server) for _ in range(3)] == [False, True, True]
        assert len(smtp.sessions) == 1
        assert len(smtp.ledger) == 3


async def test_opens_no_more_sessions_than_allowed_and_serves_all(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp, pool=PoolLimits(max_connections=3))
        await asyncio.gather(*(send(server) for _ in range(20)))
        assert len(smtp.sessions) == 3
        assert len(smtp.ledger) == 20


async def test_serves_in_the_order_of_asking(server_for: ServerFor, pool: SessionPool) -> None:
    served: list[int] = []

    async def ask(number: int) -> None:
        async with pool.session(server):
            served.append(number)
            await asyncio.sleep(0)

    async with SmtpServer() as smtp:
        server = server_for(smtp, pool=PoolLimits(max_connections=1))
        await asyncio.gather(*(ask(number) for number in range(10)))
    assert served == list(range(10))


@pytest.mark.parametrize("max_connections", [1, 5])
async def test_lets_no_more_mails_go_than_the_rate_and_serves_all(
    max_connections: int, server_for: ServerFor, send: Send
) -> None:
    async with SmtpServer() as smtp:
        limits = PoolLimits(max_connections=max_connections, rate_limit=2, rate_seconds=0.1)
        server = server_for(smtp, pool=limits)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(send(server) for _ in range(7)))
        assert asyncio.get_running_loop().time() - began >= 0.3  # the seventh is in the fourth stretch
        assert len(smtp.ledger) == 7


async def test_counts_no_mail_for_which_there_was_no_session_or_only_a_stale_one(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    faults = (Fault(State.GREETING, close, connection=1), Fault(State.MAIL, close, connection=2, occurrence=2))
    async with SmtpServer(*faults, extensions=()) as smtp:
        server = server_for(smtp, pool=PoolLimits(rate_limit=2, rate_seconds=3600))
        assert (await failure_of(send(server))).outcome is Outcome.NOT_SENT  # the connection fails
        assert await send(server) is False
        assert (await failure_of(send(server))).outcome is Outcome.NOT_SENT  # the warm session is stale
        assert await send(server) is False
        waiting = asyncio.create_task(send(server))
        await settle()
        assert [counts.waiting for _, counts in pool.counts()] == [1]
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert len(smtp.ledger) == 2


async def test_tells_those_who_wait_for_their_turn_that_it_closes(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp, pool=PoolLimits(rate_limit=1, rate_seconds=3600))
        await send(server)
        waiting = [asyncio.create_task(failure_of(send(server))) for _ in range(3)]
        await settle()
        await pool.close(0.0)
        assert {(await failure).reason for failure in waiting} == {Reason.SHUTTING_DOWN}
        assert len(smtp.ledger) == 1


async def test_keeps_sessions_of_different_credentials_apart(
    server_for: ServerFor, login: Login, pool: SessionPool, send: Send
) -> None:
    async with SmtpServer(tls=server_context(), credentials=Credentials()) as smtp:
        server = server_for(smtp)
        assert await send(server) is False
        failure = await failure_of(send(replace(server, auth=login(password="other"))))
        assert failure.reason is Reason.SMTP_AUTH_FAILED
        assert await send(server_for(smtp)) is True


async def test_closes_a_session_that_is_idle(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer() as smtp:
        await send(server_for(smtp, pool=PoolLimits(idle_seconds=0.05)))
        await smtp.all_sessions_ended()
        assert smtp.sessions[0].verbs[-1] == b"QUIT"


async def test_closes_a_session_that_has_sent_enough_or_is_old(server_for: ServerFor, send: Send) -> None:
    for limits in (PoolLimits(max_messages=2), PoolLimits(max_age_seconds=0.0)):
        async with SmtpServer() as smtp:
            server = server_for(smtp, pool=limits)
            for _ in range(4):
                await send(server)
            assert len(smtp.sessions) == (2 if limits.max_messages == 2 else 4)


async def test_tries_a_wrong_password_once_however_many_ask(server_for: ServerFor, login: Login, send: Send) -> None:
    async with SmtpServer(tls=server_context(), credentials=Credentials()) as smtp:
        server = server_for(smtp, auth=login(password="wrong"))
        failures = await asyncio.gather(*(failure_of(send(server)) for _ in range(20)))
        assert {failure.reason for failure in failures} == {Reason.SMTP_AUTH_FAILED}
        assert sum(session.verbs.count(b"AUTH") for session in smtp.sessions) == 1


# Sessions that are not in order


async def test_uses_a_session_again_after_a_refused_mail(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer(Fault(State.RCPT, reply_with(b"550 5.1.1 who\r\n"), occurrence=1)) as smtp:
        server = server_for(smtp)
        assert (await failure_of(send(server))).outcome is Outcome.REJECTED
        assert await send(server) is True


@pytest.mark.parametrize("action", [close, reply_with(b"25 ok\r\n"), reply_and_close(b"421 4.3.2 closing\r\n")])
async def test_never_lends_a_broken_session_again(action: Any, server_for: ServerFor, send: Send) -> None:
    async with SmtpServer(Fault(State.MAIL, action, connection=1)) as smtp:
        server = server_for(smtp)
        assert (await failure_of(send(server))).outcome is Outcome.NOT_SENT
        assert await send(server) is False
        assert len(smtp.sessions) == 2


async def test_never_lends_a_session_again_whose_user_raised(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp)
        with pytest.raises(RuntimeError):
            async with pool.session(server):
                raise RuntimeError
        assert await send(server) is False
        assert b"QUIT" not in smtp.sessions[0].verbs


async def test_does_not_lend_a_session_that_the_server_closed(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp)
        await send(server)
        await smtp.sessions[0].strike(reply_and_close(b"451 4.4.2 Timeout waiting for data from client.\r\n"))
        await smtp.all_sessions_ended()
        assert await send(server) is False


@pytest.mark.parametrize(
    "line",
    [
        b"421 4.4.2 idle too long\r\n",
        b"421 Maximum message count per session reached\r\n",
        b"451 4.4.2 Timeout waiting for data from client.\r\n",
        b"452 too many messages in this session\r\n",
    ],
)
@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")])
async def test_a_session_that_the_server_ends_in_words_can_be_retried_on_a_fresh_one(
    line: bytes, extensions: tuple[str, ...], server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    state = State.RSET if extensions else State.MAIL
    fault = Fault(state, reply_and_close(line), connection=1, occurrence=1 if extensions else 2)
    async with SmtpServer(fault, extensions=extensions) as smtp:
        server = server_for(smtp, pool=PoolLimits(max_connections=2), single_flight=b"452" not in line)
        await asyncio.gather(send(server), send(server))
        async with pool.session(server) as other:
            failure = await failure_of(send(server))
            assert failure.reason in {Reason.SMTP_SERVICE_UNAVAILABLE, Reason.SMTP_CONNECTION_LOST}
            assert failure.outcome is Outcome.NOT_SENT
            assert other.is_open
        assert await send(server) is True or smtp.sessions[0].wire.has_ended


async def test_after_a_stale_session_the_next_one_is_fresh(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    fault = Fault(State.RSET, close)
    async with SmtpServer(fault, extensions=("PIPELINING",)) as smtp:
        server = server_for(smtp)
        async with pool.session(server), pool.session(server), pool.session(server):
            pass
        failure = await failure_of(send(server))
        assert failure.reason is Reason.SMTP_CONNECTION_LOST
        assert await send(server) is False


# Those who wait


async def test_whoever_gives_up_waiting_gets_nothing_and_holds_up_nobody(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp, pool=PoolLimits(max_connections=1))
        async with pool.session(server):
            waiting = [asyncio.create_task(send(server)) for _ in range(3)]
            await settle()
            waiting[0].cancel()
            waiting[1].cancel()
        assert await waiting[2] is True
        assert [task.cancelled() for task in waiting] == [True, True, False]
        assert len(smtp.ledger) == 1


async def test_whoever_is_cancelled_in_the_moment_of_getting_a_session_gives_it_back(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp, pool=PoolLimits(max_connections=1))
        async with pool.session(server):
            waiting = asyncio.create_task(send(server))
            await settle()
        waiting.cancel()  # the session is his already, and he does not know yet
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await send(server) is True
        assert len(smtp.sessions) == 1


async def test_an_opening_that_nobody_waits_for_any_more_is_stopped(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer(Fault(State.EHLO, stall, connection=1)) as smtp:
        server = server_for(smtp)
        waiting = asyncio.create_task(send(server))
        await smtp.reached(State.EHLO)
        waiting.cancel()
        assert await send(server) is False
        assert len(smtp.sessions) == 2


async def test_nobody_is_left_to_an_opening_that_stalls_for_another(
    server_for: ServerFor, pool: SessionPool, send: Send
) -> None:
    async with SmtpServer(Fault(State.GREETING, stall, connection=1)) as smtp:
        server = server_for(smtp)
        stalled = asyncio.create_task(send(server))
        await smtp.reached(State.GREETING)
        async with asyncio.timeout(30), pool.session(server) as session:
            await settle()
            stalled.cancel()
            session.wire.abort("interrupted")
        with pytest.raises(asyncio.CancelledError):
            await stalled


async def test_a_slow_server_delays_no_other(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer(Fault(State.GREETING, stall)) as slow, SmtpServer() as good:
        waiting = [asyncio.create_task(send(server_for(slow))) for _ in range(50)]
        await slow.reached(State.GREETING)
        await asyncio.gather(*(send(server_for(good)) for _ in range(20)))
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_everybody_hears_why_no_session_can_be_opened(server_for: ServerFor, send: Send) -> None:
    async with SmtpServer(Fault(State.GREETING, reply_with(b"554 5.7.1 blocked\r\n"))) as smtp:
        failures = await asyncio.gather(*(failure_of(send(server_for(smtp))) for _ in range(30)))
        assert {failure.reason for failure in failures} == {Reason.SMTP_CONNECTION_REJECTED}
        assert len({id(failure) for failure in failures}) == 30
        assert len(smtp.sessions) <= 5


async def test_a_provider_that_allows_fewer_sessions_fails_nobody(server_for: ServerFor, send: Send) -> None:
    faults = [
        Fault(State.GREETING, reply_with(b"421 4.3.2 too many connections\r\n"), connection=number)
        for number in range(3, 9)
    ]
    async with SmtpServer(*faults) as smtp:
        await asyncio.gather(*(send(server_for(smtp)) for _ in range(20)))
        assert len(smtp.ledger) == 20


# The breaker


async def test_a_server_that_is_down_is_left_alone_for_a_while(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    told: list[WireEvent] = []
    pool = SessionPool(dialer=Dialer(), hook=told.append)

    async def send(server: Server) -> None:
        async with pool.session(server) as session:
            await session.send(envelope, message)

    async with SmtpServer(Fault(State.GREETING, close)) as smtp:
        server = server_for(smtp)
        failures = [await failure_of(send(server)) for _ in range(10)]
        assert len(smtp.sessions) == 3
        assert {(failure.reason, failure.stage) for failure in failures} == {
            (Reason.SMTP_CONNECTION_LOST, Stage.GREETING)
        }
        assert 0 < (failures[-1].retry_after or 0) <= 5
        assert sum(isinstance(event, SessionFailed) for event in told) == 3
        assert [event.seconds for event in told if isinstance(event, BreakerOpened)] == [5.0]
    await pool.close(0.0)


async def test_a_refused_password_is_not_tried_again_at_once(server_for: ServerFor, login: Login, send: Send) -> None:
    async with SmtpServer(tls=server_context(), credentials=Credentials()) as smtp:
        server = server_for(smtp, auth=login(password="wrong"))
        for _ in range(5):
            failure = await failure_of(send(server))
            assert (failure.reason, failure.outcome) == (Reason.SMTP_AUTH_FAILED, Outcome.REJECTED)
        assert sum(session.verbs.count(b"AUTH") for session in smtp.sessions) == 1


async def test_tries_again_after_the_pause_and_says_when_the_server_works(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    told: list[WireEvent] = []
    pool = SessionPool(dialer=Dialer(), hook=told.append, first_pause=0.05)
    faults = [Fault(State.GREETING, close, connection=number) for number in (1, 2, 3)]
    async with SmtpServer(*faults) as smtp:
        server = server_for(smtp)
        refusals = 0
        async with asyncio.timeout(5):
            while True:
                try:
                    async with pool.session(server) as session:
                        await session.send(envelope, message)
                    break
                except Failure:
                    refusals += 1
                    await asyncio.sleep(0)
        assert refusals >= 3
        assert len(smtp.sessions) == 4
        await pool.close(0.0)
    of_mails = (SessionAwaited, TransactionEnded)
    assert [type(event) for event in told if not isinstance(event, of_mails)] == [
        SessionFailed,
        SessionFailed,
        SessionFailed,
        BreakerOpened,
        SessionOpened,
        BreakerClosed,
        SessionClosed,
    ]


async def test_waits_for_a_trial_without_turning_in_circles(server_for: ServerFor) -> None:
    pool = SessionPool(dialer=Dialer(), first_pause=0.05)
    faults = [Fault(State.GREETING, close, connection=number) for number in (1, 2, 3)]
    async with SmtpServer(*faults, Fault(State.GREETING, stall, connection=4)) as smtp:
        server = server_for(smtp)

        async def keep_trying() -> None:
            while True:
                with suppress(Failure):
                    await pool.session(server).__aenter__()
                await asyncio.sleep(0)

        trying = asyncio.create_task(keep_trying())
        async with asyncio.timeout(5):
            while len(smtp.sessions) < 4:  # noqa: ASYNC110 - nothing tells of the fourth
                await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        timers = 0
        set_timer = loop.call_at

        def count(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
            nonlocal timers
            timers += 1
            return set_timer(*arguments, **options)

        loop.call_at = count  # type: ignore[method-assign]
        for _ in range(200):
            await asyncio.sleep(0)
        assert timers < 20
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        await pool.close(0.0)


# The end


async def test_close_lets_lent_sessions_finish_and_lends_no_more(
    server_for: ServerFor, pool: SessionPool, envelope: Envelope, message: bytes, send: Send
) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp, pool=PoolLimits(max_connections=1))
        async with pool.session(server) as session:
            waiting = asyncio.create_task(failure_of(send(server)))
            await settle()
            closing = asyncio.create_task(pool.close(5.0))
            assert (await waiting).reason is Reason.SHUTTING_DOWN
            assert (await failure_of(send(server))).reason is Reason.SHUTTING_DOWN
            await session.send(envelope, message)
            assert not closing.done()
        await closing
        await smtp.all_sessions_ended()
        assert smtp.sessions[0].verbs[-1] == b"QUIT"


async def test_close_aborts_what_is_not_back_in_time(
    server_for: ServerFor, pool: SessionPool, envelope: Envelope, message: bytes
) -> None:
    async with SmtpServer(Fault(State.ACCEPTED, stall)) as smtp, pool.session(server_for(smtp)) as session:
        sending = asyncio.create_task(failure_of(session.send(envelope, message)))
        await smtp.reached(State.ACCEPTED)
        await pool.close(0.05)
        assert (await sending).outcome is Outcome.UNKNOWN


async def test_close_stops_what_is_being_opened(server_for: ServerFor, pool: SessionPool, send: Send) -> None:
    async with SmtpServer(Fault(State.EHLO, stall)) as smtp:
        waiting = asyncio.create_task(failure_of(send(server_for(smtp))))
        await smtp.reached(State.EHLO)
        await pool.close(0.0)
        assert (await waiting).reason is Reason.SHUTTING_DOWN
        await smtp.all_sessions_ended()


async def test_gives_up_the_longest_unused_server_when_there_are_too_many(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    pool = SessionPool(dialer=Dialer(), max_servers=2)

    async def send(server: Server) -> bool:
        async with pool.session(server) as session:
            await session.send(envelope, message)
            return session.was_used

    async with SmtpServer() as smtp:
        servers = [server_for(smtp, client_hostname=f"client{number}.example") for number in range(3)]
        assert [await send(server) for server in servers] == [False] * 3
        assert await send(servers[2]) is True
        assert await send(servers[0]) is False
        async with pool.session(servers[0]), pool.session(servers[2]):
            failure = await failure_of(send(servers[1]))
            assert failure.reason is Reason.SERVICE_OVERLOADED
    await pool.close(0.0)


async def test_times_out_nobody_but_who_asked_for_it(server_for: ServerFor, pool: SessionPool) -> None:
    async with SmtpServer(Fault(State.EHLO, stall)) as smtp:
        server = server_for(smtp, timeouts=Timeouts(socket=0.1))
        failure = await failure_of(pool.session(server).__aenter__())
        assert (failure.reason, failure.stage) == (Reason.SMTP_CONNECTION_LOST, Stage.EHLO)


async def test_an_opening_that_is_given_up_before_it_has_begun_takes_nobodys_place(
    pool: SessionPool, server_for: ServerFor
) -> None:
    async with SmtpServer() as smtp:
        server = replace(server_for(smtp), pool=PoolLimits(max_connections=1))

        async def borrow() -> None:
            async with pool.session(server):
                pass

        async with pool.session(server) as session:
            waiting = asyncio.create_task(borrow())
            await settle()
            waiting.cancel()
            session.wire.abort("broken")  # so that one is opened for him who has just been cancelled
        await settle()
        async with asyncio.timeout(30):
            await borrow()
        assert [counts.opening for _, counts in pool.counts()] == [0]
