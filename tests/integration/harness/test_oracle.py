from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.bare_client import connected
from harness.oracle import violations
from harness.sasl import Credentials
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from harness.smtp_session import Session

ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"


async def session_of(octets: bytes, *, extensions: tuple[str, ...] = ("PIPELINING", "CHUNKING")) -> Session:
    """What the server recorded of a client that sends ``octets`` at once and listens to nothing."""
    server = SmtpServer(extensions=extensions, credentials=Credentials())
    async with server, connected(server) as (reader, writer):
        await reader.readline()
        writer.write(octets)
        writer.write_eof()
        await reader.read(-1)
    return server.sessions[0]


@pytest.mark.parametrize(
    ("octets", "violation"),
    [
        (b"RSET\r\nMAIL FROM:<a>\x00\r\n", "NUL"),
        (b"RSET\nQUIT\r\n", "bare LF"),
        (b"RSET\rQUIT\r\n", "bare CR"),
        (b"SUBJECT: x\r\n", "unknown command b'SUBJECT:'"),
        (b"MAIL FROM:<" + b"a" * 501 + b">\r\n", "b'MAIL' line of 515 octets"),
        (b"DATA\r\nRSET\r\n", "b'DATA' is not the last of its group"),
        (b"EHLO me\r\nRSET\r\n", "b'EHLO' is not the last of its group"),
        (b"AUTH PLAIN AA==\r\nAUTH PLAIN AA==\r\n", "2 AUTH commands on one connection"),
        (b"AUTH PLAIN AA==\r\n", "AUTH in the clear"),
        (b"AUTH PLAIN AA==\r\nEHLO me\r\n", "EHLO after AUTH"),
        (ENVELOPE + b"BDAT 1\r\nxDATA\r\n", "DATA and BDAT in one transaction"),
    ],
)
async def test_sees_what_is_wrong(octets: bytes, violation: str) -> None:
    assert violation in violations(await session_of(octets))


async def test_sees_pipelining_that_was_not_offered() -> None:
    session = await session_of(b"RSET\r\nRSET\r\n", extensions=())
    assert violations(session) == ["b'RSET' pipelined though not offered"]


async def test_lets_a_legal_group_pass() -> None:
    assert violations(await session_of(b"RSET\r\n" + ENVELOPE + b"BDAT 3 LAST\r\nx\r\nRSET\r\n")) == []


@pytest.mark.parametrize(
    ("content", "violation"),
    [
        (b"x", "content does not end with CRLF"),
        (b"x" * 999 + b"\r\n", "content line of 1001 octets"),
    ],
)
async def test_sees_what_is_wrong_with_a_message(content: bytes, violation: str) -> None:
    async with SmtpServer() as server, connected(server) as (reader, writer):
        await reader.readline()
        writer.write(ENVELOPE + b"BDAT %d LAST\r\n" % len(content) + content)
        for _ in range(3):
            await reader.readline()
    assert violations(server.sessions[0]) == [violation]
