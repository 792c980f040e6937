"""The network ends at any octet, in either direction: whatever the sender is told agrees with the ledger."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import TYPE_CHECKING

import pytest

from harness.attempt import CREDENTIALS, Answer, Transport, attempt, configuration
from harness.proxy import Cut, Proxy, Toxics
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import Timeouts
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool
from smtpconnector_server.smtp.transaction import Level

if TYPE_CHECKING:
    from harness.attempt import Told

EXTENSIONS = {
    Level.SERIAL: (),
    Level.PIPELINING: ("PIPELINING",),
    Level.SINGLE_FLIGHT: ("PIPELINING", "CHUNKING"),
}
TIMES_IN_LEDGER = {
    Answer.SENT: {1},
    Answer.NOT_SENT: {0},
    Answer.REJECTED: {0},
    Answer.UNKNOWN: {0, 1},
}
AT_ONCE = 24


def message(name: str) -> bytes:
    return b"Subject: %s\r\n\r\n.\r\nx\r\n" % name.encode()


async def octets_of_a_good_session(level: Level) -> tuple[int, int]:
    """How many octets the client sends, and the server."""
    async with SmtpServer(extensions=EXTENSIONS[level], credentials=CREDENTIALS) as server:
        pool = SessionPool(dialer=Dialer())
        assert (await send_through(server.port, level, message("x" * 10), pool)).answer is Answer.SENT
        await pool.close(grace=0)
        await server.all_sessions_ended()
    [session] = server.sessions
    sent = len(session.client_octets) - len(b"QUIT\r\n")
    return sent, sum(len(item.octets) for item in session.wire.record) - len(session.client_octets)


async def send_through(port: int, level: Level, content: bytes, pool: SessionPool) -> Told:
    patience = Timeouts(dns=20, connection=20, greeting=20, socket=20)
    target = configuration(port, Transport.PLAIN, timeouts=patience, single_flight=level is Level.SINGLE_FLIGHT)
    return await attempt(pool, target, content)


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.FINISH], ids=lambda cut: cut.name)
@pytest.mark.parametrize("level", Level, ids=lambda level: level.name)
async def test_a_connection_that_ends_anywhere_makes_no_answer_a_lie(level: Level, cut: Cut) -> None:
    sent, heard = await octets_of_a_good_session(level)
    turn = asyncio.Semaphore(AT_ONCE)
    answers: dict[str, Answer] = {}

    async def run(server: SmtpServer, direction: str, octets: int) -> None:
        toxics = Toxics(cut_after=octets, cut=cut)
        name = f"{direction}{octets:09}"
        async with turn, Proxy(server.port, **{direction: toxics}) as proxy:
            pool = SessionPool(dialer=Dialer())
            answers[name] = (await send_through(proxy.port, level, message(name[-10:]), pool)).answer
            await pool.close(grace=0)

    async with SmtpServer(extensions=EXTENSIONS[level], credentials=CREDENTIALS) as server:
        async with asyncio.TaskGroup() as group:
            for direction, octets in [*product(["upstream"], range(sent)), *product(["downstream"], range(heard))]:
                group.create_task(run(server, direction, octets))
        await server.all_sessions_ended()
    contents = [mail.content for mail in server.ledger]
    lies = [
        f"{name}: {answer.name}"
        for name, answer in answers.items()
        if contents.count(message(name[-10:])) not in TIMES_IN_LEDGER[answer]
    ]
    assert lies == []
    assert {Answer.NOT_SENT, Answer.UNKNOWN} <= set(answers.values())


@pytest.mark.parametrize("level", Level, ids=lambda level: level.name)
async def test_octets_that_come_one_by_one_mean_the_same(level: Level) -> None:
    one_by_one = Toxics(slices=1)
    async with (
        SmtpServer(extensions=EXTENSIONS[level], credentials=CREDENTIALS) as server,
        Proxy(server.port, upstream=one_by_one, downstream=one_by_one) as proxy,
    ):
        pool = SessionPool(dialer=Dialer())
        for number in range(2):
            assert (await send_through(proxy.port, level, message(str(number)), pool)).answer is Answer.SENT
        await pool.close(grace=0)
    assert [mail.content for mail in server.ledger] == [message("0"), message("1")]
