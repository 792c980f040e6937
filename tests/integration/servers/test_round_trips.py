"""How often a mail makes its sender wait, counted on the wire between us and real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.proxy import Proxy, Toxics
from harness.servers.submission import Access, Letter, configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.servers.mail_server import MailServer
    from harness.servers.smtp_sink import SmtpSink
    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.pool import SessionPool

LATE = Toxics(latency=0.02)
"""On the way to the client: an answer takes longer than the machine's hiccups, so that waiting is told from writing."""
MAILS = 10


@pytest.mark.parametrize(("single_flight", "most"), [(False, 2.1), (True, 1.1)], ids=["pipelining", "single flight"])
async def test_a_mail_on_a_warm_connection_takes_two_round_trips_or_one(
    mail_server: MailServer, pool: SessionPool, most: float, *, single_flight: bool
) -> None:
    async with Proxy(mail_server.clear_port, downstream=LATE) as proxy:
        server = configuration(proxy.port, Access.CLEAR, single_flight=single_flight)
        assert await round_trips_per_mail(proxy, pool, server) <= most


@pytest.mark.needs_server("smtp-sink")
async def test_a_server_without_pipelining_costs_four(smtp_sink: Callable[..., SmtpSink], pool: SessionPool) -> None:
    async with Proxy(smtp_sink("-p").port, downstream=LATE) as proxy:
        assert await round_trips_per_mail(proxy, pool, configuration(proxy.port, Access.CLEAR)) == 4


async def round_trips_per_mail(proxy: Proxy, pool: SessionPool, server: Server) -> float:
    await Letter().send(pool, server)
    (link,) = proxy.links
    before = link.round_trips
    for _ in range(MAILS):
        await Letter().send(pool, server)
    assert len(proxy.links) == 1
    return (link.round_trips - before) / MAILS


@pytest.mark.parametrize(
    ("access", "steps"),
    [
        (Access.CLEAR, ["EHLO"]),
        (Access.IMPLICIT_TLS, ["hello", "finished, for the greeting", "EHLO", "AUTH PLAIN"]),
        (Access.STARTTLS, ["EHLO", "STARTTLS", "hello", "finished and EHLO", "AUTH PLAIN"]),
    ],
)
async def test_the_first_mail_takes_no_more_than_the_protocol_asks_for(
    mail_server: MailServer, pool: SessionPool, access: Access, steps: list[str]
) -> None:
    async with Proxy(access.port(mail_server), downstream=LATE) as proxy:
        await Letter().send(pool, configuration(proxy.port, access, single_flight=True))
        (link,) = proxy.links
        assert link.round_trips <= len([*steps, "the mail"])
