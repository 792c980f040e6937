from __future__ import annotations

import asyncio
import socket

import aiosmtplib
import pytest

from harness.bare_client import connected
from harness.certificates import client_context, server_context
from harness.fault import (
    Action,
    Fault,
    State,
    close,
    close_politely,
    cut_after,
    drip,
    endless,
    followed_by,
    reply_and_close,
    reply_with,
    reset,
    stall,
    stop_reading,
    together_with_next,
)
from harness.oracle import violations
from harness.sasl import Credentials
from harness.smtp_server import SmtpServer

ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"
GREETING = b"220 mail.example.com ESMTP ready\r\n"
BYE = b"221 2.0.0 Bye\r\n"
CREDENTIALS = Credentials()


async def converse(server: SmtpServer, *sends: bytes) -> bytes:
    """Say each of ``sends`` after something was heard, and return all that was heard until the server closed."""
    heard = b""
    async with connected(server) as (reader, writer):
        for octets in sends:
            heard += await reader.read(4096)
            writer.write(octets)
        return heard + await reader.read(-1)


@pytest.mark.parametrize("transport", ["plain", "starttls", "implicit"])
async def test_serves_an_ordinary_client_on_every_transport(transport: str) -> None:
    tls = None if transport == "plain" else server_context()
    async with SmtpServer(tls=tls, implicit_tls=transport == "implicit", credentials=CREDENTIALS) as server:
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=transport == "implicit",
            start_tls=transport == "starttls",
            tls_context=client_context(),
        )
        async with client:
            await client.login(CREDENTIALS.user, CREDENTIALS.password)
            await client.sendmail("a@example.com", ["b@example.com"], b"Subject: x\r\n\r\n.dot\r\n")
        await server.all_sessions_ended()
    [mail] = server.ledger
    assert (mail.sender, mail.recipients) == (b"a@example.com", (b"b@example.com",))
    assert mail.content == b"Subject: x\r\n\r\n.dot\r\n"
    [session] = server.sessions
    assert violations(session, clear_auth_allowed=transport == "plain") == []


@pytest.mark.parametrize("mechanism", ["plain", "login", "crammd5", "xoauth2"])
@pytest.mark.parametrize("is_right", [True, False])
async def test_checks_the_credentials(mechanism: str, is_right: bool) -> None:
    secret = CREDENTIALS.token if mechanism == "xoauth2" else CREDENTIALS.password
    async with (
        SmtpServer(credentials=CREDENTIALS) as server,
        aiosmtplib.SMTP(hostname=server.host, port=server.port) as client,
    ):
        await client.ehlo()
        authenticate = getattr(client, f"auth_{mechanism}")
        if is_right:
            assert (await authenticate(CREDENTIALS.user, secret)).code == 235
        else:
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await authenticate(CREDENTIALS.user, secret + "x")


async def test_takes_a_chunk_by_its_count_and_not_by_its_dots() -> None:
    async with SmtpServer() as server:
        await converse(server, b"EHLO me\r\n", ENVELOPE + b"BDAT 3 LAST\r\n.\r\nQUIT\r\n")
    assert [mail.content for mail in server.ledger] == [b".\r\n"]


async def test_joins_chunks() -> None:
    async with SmtpServer() as server:
        await converse(server, b"EHLO me\r\n", ENVELOPE + b"BDAT 4\r\na\r\nbBDAT 2 LAST\r\n\r\nQUIT\r\n")
    assert [mail.content for mail in server.ledger] == [b"a\r\nb\r\n"]


async def test_discards_a_refused_chunk_unless_told_to_run_it() -> None:
    group = b"BDAT 6 LAST\r\nRSET\r\nQUIT\r\n"
    async with SmtpServer() as good, SmtpServer(runs_refused_chunks=True) as broken:
        await converse(good, b"EHLO me\r\n", group)
        await converse(broken, b"EHLO me\r\n", group)
    assert b"RSET" not in good.sessions[0].verbs
    assert b"RSET" in broken.sessions[0].verbs


async def test_records_a_message_before_its_acceptance_can_be_lost() -> None:
    async with SmtpServer(Fault(State.ACCEPTED, reset)) as server:
        with pytest.raises(ConnectionResetError):
            await converse(server, b"EHLO me\r\n", ENVELOPE + b"DATA\r\n", b"x\r\n.\r\n")
    assert len(server.ledger) == 1


async def test_accepts_nothing_once_a_fault_has_refused_it() -> None:
    async with SmtpServer(Fault(State.RECEIVED, reply_with(b"554 5.6.0 no\r\n"))) as server:
        heard = await converse(server, b"EHLO me\r\n", ENVELOPE + b"DATA\r\n", b"x\r\n.\r\nQUIT\r\n")
    assert heard.splitlines()[-2:] == [b"554 5.6.0 no", b"221 2.0.0 Bye"]
    assert server.ledger == []


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        (Fault(State.GREETING, close), b""),
        (Fault(State.GREETING, reply_and_close(b"421 no\r\n")), b"421 no\r\n"),
        (Fault(State.GREETING, cut_after(3)), b"220"),
        (Fault(State.GREETING, followed_by(b"250 stray\r\n")), GREETING + b"250 stray\r\n" + BYE),
        (Fault(State.GREETING, drip(0)), GREETING + BYE),
        (Fault(State.GREETING, together_with_next(b"250 early\r\n")), GREETING + b"250 early\r\n"),
        (Fault(State.QUIT, endless(b"x" * 999)), GREETING + b"x" * 9999),
    ],
)
async def test_goes_wrong_where_the_fault_says(fault: Fault, heard: bytes) -> None:
    async with SmtpServer(fault) as server, connected(server) as (reader, writer):
        writer.write(b"QUIT\r\n")
        assert await reader.readexactly(len(heard)) == heard
        assert fault.state is State.QUIT or await reader.read(-1) == b""


async def test_strikes_only_the_connection_and_the_occurrence_that_the_fault_names() -> None:
    async with SmtpServer(Fault(State.RSET, reply_with(b"451 no\r\n"), connection=2, occurrence=2)) as server:
        first = await converse(server, b"RSET\r\nRSET\r\nQUIT\r\n")
        second = await converse(server, b"RSET\r\nRSET\r\nQUIT\r\n")
    assert first.count(b"451 no") == 0
    assert second.splitlines()[1:3] == [b"250 2.0.0 Reset", b"451 no"]


@pytest.mark.parametrize("action", [stall, stop_reading])
async def test_stalls_until_the_client_goes(action: Action) -> None:
    async with SmtpServer(Fault(State.GREETING, action)) as server, connected(server) as (reader, writer):
        await server.reached(State.GREETING)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.02)
        writer.transport.abort()
        if action is stall:
            await server.all_sessions_ended()


async def test_strikes_an_idle_session_on_demand() -> None:
    async with SmtpServer() as server, connected(server) as (reader, writer):
        await reader.readline()
        await server.sessions[0].strike(reply_and_close(b"451 4.4.2 Timeout\r\n"))
        assert await reader.read(-1) == b"451 4.4.2 Timeout\r\n"
        writer.write(b"QUIT\r\n")
        writer.close()
        await server.all_sessions_ended()
    assert server.sessions[0].octets_after_fault == b"QUIT\r\n"
    assert server.sessions[0].verbs == []


async def test_can_inject_plain_text_behind_the_reply_to_starttls() -> None:
    stray = b"250 injected\r\n"
    async with (
        SmtpServer(Fault(State.STARTTLS, followed_by(stray)), tls=server_context()) as server,
        connected(server) as (reader, writer),
    ):
        await reader.readline()
        writer.write(b"STARTTLS\r\n")
        assert await reader.readline() == b"220 2.0.0 Ready to start TLS\r\n"
        assert await reader.readline() == stray
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"NOOP\r\n")
        assert await reader.readline() == b"500 5.5.1 Unknown command\r\n"


@pytest.mark.parametrize("action", [close, close_politely, reset, stall])
async def test_can_fail_instead_of_the_handshake(action: Action) -> None:
    async with SmtpServer(Fault(State.TLS, action), tls=server_context(), implicit_tls=True) as server:
        client = aiosmtplib.SMTP(hostname=server.host, port=server.port, use_tls=True, tls_context=client_context())
        with pytest.raises(aiosmtplib.SMTPException):
            await client.connect(timeout=0.2)
        await server.all_sessions_ended()


async def test_a_client_that_comes_as_the_server_ends_leaves_no_socket_behind() -> None:
    async with SmtpServer() as server:
        with socket.create_connection((server.host, server.port)):
            while not server.sessions:  # noqa: ASYNC110 - its task must not have begun
                await asyncio.sleep(0)
    assert [session.wire.is_closed for session in server.sessions] == [True]
