"""What a server does to a connection between two mails: the next mail suffers none of it, or is told the truth."""

from __future__ import annotations

import pytest

from harness.attempt import CREDENTIALS, Answer, Transport, attempt, configuration
from harness.certificates import server_context
from harness.fault import MALFORMED, Action, close, close_politely, reply_and_close, reply_with, reset, stall
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import Timeouts
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool
from smtpconnector_server.smtp.transaction import Level

FIRST, SECOND, THIRD = (b"Subject: %d\r\n\r\nx\r\n" % number for number in (1, 2, 3))
EXTENSIONS = {
    Level.SERIAL: (),
    Level.PIPELINING: ("PIPELINING",),
    Level.SINGLE_FLIGHT: ("PIPELINING", "CHUNKING"),
}
UNASKED: dict[str, Action] = {
    "close": close,
    "close_politely": close_politely,
    "reset": reset,
    "timeout in words": reply_and_close(b"451 4.4.2 Timeout waiting for data\r\n"),
    "421": reply_and_close(b"421 4.3.2 closing\r\n"),
    "a stray yes": reply_with(b"250 2.0.0 stray\r\n"),
    "half a yes": reply_with(b"25"),
    "garbage": reply_with(MALFORMED["HTTP"]),
}


def server_for(level: Level, transport: Transport) -> SmtpServer:
    return SmtpServer(
        extensions=EXTENSIONS[level],
        tls=None if transport is Transport.PLAIN else server_context(),
        implicit_tls=transport is Transport.IMPLICIT_TLS,
        credentials=CREDENTIALS,
    )


@pytest.mark.parametrize("action", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("transport", Transport, ids=lambda transport: transport.name)
async def test_an_idle_connection_that_moves_is_given_up_at_once(transport: Transport, action: Action) -> None:
    async with server_for(Level.PIPELINING, transport) as server:
        pool = SessionPool(dialer=Dialer())
        target = configuration(server.port, transport)
        assert (await attempt(pool, target, FIRST)).answer is Answer.SENT
        await server.sessions[0].strike(action)
        await server.all_sessions_ended()
        assert (await attempt(pool, target, SECOND)).answer is Answer.SENT
        await pool.close(grace=0)
    assert [(mail.connection, mail.content) for mail in server.ledger] == [(1, FIRST), (2, SECOND)]
    assert server.sessions[0].octets_after_fault == b""


@pytest.mark.parametrize("action", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("level", Level, ids=lambda level: level.name)
async def test_a_mail_that_meets_the_end_of_its_connection_is_told_the_truth(level: Level, action: Action) -> None:
    async with server_for(level, Transport.PLAIN) as server:
        pool = SessionPool(dialer=Dialer())
        target = configuration(server.port, Transport.PLAIN, single_flight=True)
        assert (await attempt(pool, target, FIRST)).answer is Answer.SENT
        await server.sessions[0].strike(action)  # and the next mail is under way before the client can notice
        told = (await attempt(pool, target, SECOND)).answer
        assert (await attempt(pool, target, THIRD)).answer is Answer.SENT
        await pool.close(grace=0)
    contents = [mail.content for mail in server.ledger]
    assert contents.count(SECOND) in {Answer.SENT: {1}, Answer.NOT_SENT: {0}, Answer.UNKNOWN: {0, 1}}[told]
    assert (contents[0], contents[-1]) == (FIRST, THIRD)


async def test_a_connection_that_has_gone_silent_is_found_out_before_the_mail_leaves() -> None:
    async with server_for(Level.PIPELINING, Transport.PLAIN) as server:
        pool = SessionPool(dialer=Dialer())
        impatient = Timeouts(dns=20, connection=20, greeting=20, socket=0.5)
        target = configuration(server.port, Transport.PLAIN, timeouts=impatient)
        assert (await attempt(pool, target, FIRST)).answer is Answer.SENT
        await server.sessions[0].strike(stall)
        assert (await attempt(pool, target, SECOND)).answer is Answer.NOT_SENT
        await server.all_sessions_ended()
        await pool.close(grace=0)
    assert [mail.content for mail in server.ledger] == [FIRST]
