"""After many bad sessions no socket and no task is left, nor when the pool closes in the middle of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from harness.attempt import CREDENTIALS, Answer, Transport, attempt, configuration
from harness.certificates import server_context
from harness.fault import (
    Action,
    Fault,
    State,
    close,
    close_politely,
    cut_after,
    followed_by,
    reply_and_close,
    reply_with,
    reset,
    stall,
)
from harness.leaks import nothing_left_behind
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import PoolLimits
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool

MESSAGE = b"Subject: x\r\n\r\nx\r\n"
BAD_SESSIONS = 500
AT_ONCE = 20
SETTLING_SECONDS = 20.0
ACTIONS: tuple[Action, ...] = (
    close,
    close_politely,
    reset,
    cut_after(2),
    followed_by(b"250 stray\r\n"),
    reply_with(b"+25 ok\r\n"),
    reply_with(b"451 4.3.0 no\r\n"),
    reply_with(b"554 5.6.0 no\r\n"),
    reply_and_close(b"421 4.3.2 no\r\n"),
)


async def bad_session(number: int, dialer: Dialer) -> None:
    random = Random(number)  # noqa: S311 - a choice of tests, the same in every run
    transport = random.choice(list(Transport))
    fault = Fault(random.choice([state for state in State if state is not State.IDLE]), random.choice(ACTIONS))
    server = SmtpServer(
        fault,
        tls=None if transport is Transport.PLAIN else server_context(),
        implicit_tls=transport is Transport.IMPLICIT_TLS,
        credentials=CREDENTIALS,
    )
    async with server:
        pool = SessionPool(dialer=dialer)
        target = configuration(server.port, transport, single_flight=random.random() < 0.5)
        target = replace(
            target, pool=PoolLimits(idle_seconds=10 * SETTLING_SECONDS)
        )  # only closing the pool closes them
        for _ in range(2):
            await attempt(pool, target, MESSAGE)
        await pool.close(grace=0)
        async with asyncio.timeout(SETTLING_SECONDS):
            await server.all_sessions_ended()


async def test_many_bad_sessions_leave_no_socket_and_no_task() -> None:
    dialer = Dialer()
    turn = asyncio.Semaphore(AT_ONCE)

    async def run(number: int) -> None:
        async with turn:
            await bad_session(number, dialer)

    async with nothing_left_behind(), asyncio.TaskGroup() as group:
        for number in range(BAD_SESSIONS):
            group.create_task(run(number))


STATES = [
    (state, transport)
    for state, transport in product(State, Transport)
    if not (state in {State.STARTTLS, State.EHLO2} and transport is not Transport.STARTTLS)
    and not (state is State.TLS and transport is Transport.PLAIN)
    and state is not State.RSET
]


@pytest.mark.parametrize(("state", "transport"), STATES, ids=lambda value: value.name)
async def test_a_pool_that_closes_while_the_server_is_silent_leaves_nothing(state: State, transport: Transport) -> None:
    mechanisms = ("LOGIN",) if state is State.AUTH2 else ("PLAIN",)
    server = SmtpServer(
        Fault(state, stall),
        tls=None if transport is Transport.PLAIN else server_context(),
        implicit_tls=transport is Transport.IMPLICIT_TLS,
        credentials=CREDENTIALS,
        mechanisms=mechanisms,
    )
    async with nothing_left_behind(), server:
        pool = SessionPool(dialer=Dialer())
        sending = asyncio.create_task(attempt(pool, configuration(server.port, transport), MESSAGE))
        if state in {State.IDLE, State.QUIT}:
            assert (await sending).answer is Answer.SENT
        else:
            await server.reached(state)
        await pool.close(grace=0)
        assert (await sending).answer is not Answer.REJECTED
        await server.all_sessions_ended()
