from __future__ import annotations

import asyncio

import aiosmtplib
import pytest

from harness.bare_client import connected
from harness.proxy import Cut, Proxy, Toxics
from harness.smtp_server import SmtpServer

GREETING = b"220 mail.example.com ESMTP ready\r\n"


async def read_to_end(proxy: Proxy) -> bytes:
    async with connected(proxy) as (reader, writer):
        writer.write(b"QUIT\r\n")
        return await reader.read(-1)


async def test_counts_the_round_trips_of_a_serial_client() -> None:
    late = Toxics(latency=0.005)
    async with (
        SmtpServer() as server,
        Proxy(server.port, upstream=late, downstream=late) as proxy,
        aiosmtplib.SMTP(hostname=proxy.host, port=proxy.port) as client,
    ):
        await client.ehlo()
        [link] = proxy.links
        before = link.round_trips
        await client.sendmail("a@example.com", ["b@example.com"], b"x" * 70 + b"\r\n")
        assert link.round_trips - before == 4


async def test_counts_a_large_burst_once() -> None:
    late = Toxics(latency=0.05)
    content = b"x" * 62 + b"\r\n"
    async with (
        SmtpServer() as server,
        Proxy(server.port, upstream=late, downstream=late) as proxy,
        connected(proxy) as (reader, writer),
    ):
        await reader.readline()
        envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"
        writer.write(envelope + b"BDAT %d LAST\r\n" % (4096 * 64) + content * 4096)
        for _ in range(3):
            await reader.readline()
        assert proxy.links[0].round_trips == 1


@pytest.mark.parametrize(
    "toxics", [Toxics(slices=1), Toxics(bandwidth=1e6), Toxics(latency=0.001, jitter=0.01, slices=3)]
)
async def test_keeps_octets_and_their_order(toxics: Toxics) -> None:
    async with SmtpServer() as server, Proxy(server.port, upstream=toxics, downstream=toxics) as proxy:
        assert await read_to_end(proxy) == GREETING + b"221 2.0.0 Bye\r\n"


async def test_corrupts_the_one_octet() -> None:
    async with SmtpServer() as server, Proxy(server.port, downstream=Toxics(corrupted_octet=1, slices=1)) as proxy:
        assert await read_to_end(proxy) == b"2\xcd0" + GREETING[3:] + b"221 2.0.0 Bye\r\n"


async def test_resets_after_so_many_octets() -> None:
    async with SmtpServer() as server, Proxy(server.port, downstream=Toxics(cut_after=3)) as proxy:
        with pytest.raises(ConnectionResetError):
            await read_to_end(proxy)


async def test_half_closes_after_so_many_octets() -> None:
    cut = Toxics(cut_after=3, cut=Cut.FINISH)
    async with SmtpServer() as server, Proxy(server.port, downstream=cut) as proxy:
        assert await read_to_end(proxy) == GREETING[:3]
        await server.all_sessions_ended()
    assert server.sessions[0].verbs == [b"QUIT"]


async def test_swallows_the_rest_and_its_end() -> None:
    cut = Toxics(cut_after=3, cut=Cut.SILENCE)
    async with (
        SmtpServer() as server,
        Proxy(server.port, downstream=cut) as proxy,
        connected(proxy) as (reader, writer),
    ):
        assert await reader.readexactly(3) == b"220"
        writer.write(b"QUIT\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
