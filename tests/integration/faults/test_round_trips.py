"""How many round trips a mail takes, counted by direction flips at the client and not by a clock."""

from __future__ import annotations

import pytest

from harness.attempt import CREDENTIALS, Answer, Transport, attempt, configuration
from harness.certificates import server_context
from harness.fault import Fault, State, reply_with
from harness.oracle import violations
from harness.proxy import Proxy, Toxics
from harness.smtp_server import SmtpServer
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool
from smtpconnector_server.smtp.transaction import Level

LATE = Toxics(latency=0.025)
"""50 ms a round trip: longer than this machine's hiccups, so that what is written in one go is seen as one burst."""
EXTENSIONS = {
    Level.SERIAL: (),
    Level.PIPELINING: ("PIPELINING",),
    Level.SINGLE_FLIGHT: ("PIPELINING", "CHUNKING"),
}
ROUND_TRIPS = {Level.SERIAL: 4, Level.PIPELINING: 2, Level.SINGLE_FLIGHT: 1}
MAILS = 4


def message(number: int, octets: int = 0) -> bytes:
    return b"Subject: %d\r\n\r\n" % number + (b"x" * 70 + b"\r\n") * (octets // 72)


@pytest.mark.parametrize("transport", [Transport.PLAIN, Transport.IMPLICIT_TLS], ids=lambda transport: transport.name)
@pytest.mark.parametrize("level", Level, ids=lambda level: level.name)
async def test_each_mail_over_a_warm_connection_takes_as_few_round_trips_as_its_level_allows(
    level: Level, transport: Transport
) -> None:
    tls = None if transport is Transport.PLAIN else server_context()
    server = SmtpServer(extensions=EXTENSIONS[level], tls=tls, implicit_tls=tls is not None, credentials=CREDENTIALS)
    async with server, Proxy(server.port, upstream=LATE, downstream=LATE) as proxy:
        pool = SessionPool(dialer=Dialer())
        target = configuration(proxy.port, transport, single_flight=True)
        assert (await attempt(pool, target, message(0))).answer is Answer.SENT
        [link] = proxy.links
        taken = []
        for number in range(1, MAILS + 1):
            before = link.round_trips
            assert (await attempt(pool, target, message(number))).answer is Answer.SENT
            taken.append(link.round_trips - before)
        await pool.close(grace=0)
    assert taken == [ROUND_TRIPS[level]] * MAILS
    assert [mail.content for mail in server.ledger] == [message(number) for number in range(MAILS + 1)]
    assert violations(server.sessions[0], clear_auth_allowed=transport is Transport.PLAIN) == []


async def test_a_message_of_many_segments_takes_no_more() -> None:
    server = SmtpServer(extensions=EXTENSIONS[Level.SINGLE_FLIGHT], credentials=CREDENTIALS)
    async with server, Proxy(server.port, upstream=LATE, downstream=LATE) as proxy:
        pool = SessionPool(dialer=Dialer())
        target = configuration(proxy.port, Transport.PLAIN, single_flight=True)
        await attempt(pool, target, message(0))
        before = proxy.links[0].round_trips
        assert (await attempt(pool, target, message(1, octets=50_000))).answer is Answer.SENT
        assert proxy.links[0].round_trips - before == 1
        await pool.close(grace=0)


@pytest.mark.parametrize("level", [Level.PIPELINING, Level.SINGLE_FLIGHT], ids=lambda level: level.name)
async def test_cleaning_up_after_a_refused_mail_costs_no_round_trip(level: Level) -> None:
    refusal = Fault(State.RCPT, reply_with(b"550 5.1.1 no\r\n"), occurrence=2)
    server = SmtpServer(refusal, extensions=EXTENSIONS[level], credentials=CREDENTIALS)
    async with server, Proxy(server.port, upstream=LATE, downstream=LATE) as proxy:
        pool = SessionPool(dialer=Dialer())
        target = configuration(proxy.port, Transport.PLAIN, single_flight=True)
        await attempt(pool, target, message(0))
        assert (await attempt(pool, target, message(1))).answer is Answer.REJECTED
        before = proxy.links[0].round_trips
        assert (await attempt(pool, target, message(2))).answer is Answer.SENT
        assert proxy.links[0].round_trips - before == ROUND_TRIPS[level]
        await pool.close(grace=0)
    assert len(server.sessions) == 1
