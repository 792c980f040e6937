from __future__ import annotations

from base64 import b64encode

import pytest

from smtpconnector_server.config.model import Server, TlsMode
from smtpconnector_server.smtp.events import LineSaid, WireEvent
from smtpconnector_server.smtp.redaction import Redactor
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.smtp.transaction import Command, Level
from smtpconnector_server.smtp.transcript import Transcript

SERVER = Server(host="smtp.example.com", port=587, tls_mode=TlsMode.DISABLED, transcript=True)
PLAIN = b64encode(b"\0ada@example.com\0hunter-two")


class Said:
    """A transcript, and what it told."""

    def __init__(self) -> None:
        self.events: list[LineSaid] = []
        self.transcript = Transcript(SERVER, Redactor("hunter-two", names=("ada@example.com",)), self._hear)

    def _hear(self, event: WireEvent) -> None:
        assert isinstance(event, LineSaid)
        self.events.append(event)

    @property
    def line(self) -> str:
        (event,) = self.events
        return event.line


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"EHLO client.example\r\n", "EHLO client.example"),
        (b"STARTTLS\r\n", "STARTTLS"),
        (b"AUTH PLAIN " + PLAIN + b"\r\n", "AUTH PLAIN ***"),
        (b"AUTH LOGIN\r\n", "AUTH LOGIN"),
        (b"AUTH XOAUTH2 " + PLAIN + b"\r\n", "AUTH XOAUTH2 ***"),
        (b"auth plain " + PLAIN + b"\r\n", "***"),
        (PLAIN + b"\r\n", "***"),
        (b"\r\n", "***"),
        (b"*\r\n", "***"),
        (b"MAIL FROM:<ada@example.com>\r\n", "***"),
        (b"\xff\xfe\r\n", "***"),
    ],
)
def test_of_our_lines_only_what_is_harmless_is_shown(octets: bytes, shown: str) -> None:
    said = Said()
    said.transcript.write(octets)
    assert said.events == [LineSaid("smtp.example.com", 587, said.events[0].connection, "client", shown)]


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply(220, "", "smtp.example.com ESMTP"), "220 smtp.example.com ESMTP"),
        (Reply(334, "", "VXNlcm5hbWU6"), "334 ***"),
        (Reply(535, "5.7.8", f"cannot log in with {PLAIN.decode()}"), "535 5.7.8 cannot log in with ***"),
        (Reply(535, "5.7.8", "ada@example.com may not use hunter-two"), "535 5.7.8 *** may not use ***"),
        (Reply(235), "235"),
    ],
)
def test_replies_before_a_mail_are_cleaned(reply: Reply, shown: str) -> None:
    said = Said()
    said.transcript.read(reply)
    assert said.line.startswith(shown[:10])
    assert "hunter" not in said.line
    assert "ada@" not in said.line
    assert PLAIN.decode() not in said.line
    if "with" not in shown:
        assert said.line == shown


@pytest.mark.parametrize(
    ("command", "level", "shown"),
    [
        (Command.RSET, Level.PIPELINING, "RSET"),
        (Command.MAIL, Level.PIPELINING, "MAIL FROM:<***> SIZE=7 RET=HDRS"),
        (Command.RCPT, Level.PIPELINING, "RCPT TO:<***> NOTIFY=DELAY ORCPT=***"),
        (Command.DATA, Level.PIPELINING, "DATA"),
        (Command.MESSAGE, Level.PIPELINING, "(a message of 7 octets)"),
        (Command.MESSAGE, Level.SINGLE_FLIGHT, "BDAT 7 LAST (a message of 7 octets)"),
    ],
)
def test_commands_of_a_mail_name_nobody(command: Command, level: Level, shown: str) -> None:
    said = Said()
    parameters = " SIZE=7 RET=HDRS", " NOTIFY=DELAY ORCPT=rfc822;bob@example.com"
    said.transcript.command(command, level, parameters, 7)
    assert said.line == shown


@pytest.mark.parametrize(
    ("command", "reply", "shown"),
    [
        (Command.MAIL, Reply(250, "2.1.0", "Sender ok"), "250 2.1.0 Sender ok"),
        (Command.DATA, Reply(354, "", "Go ahead"), "354 Go ahead"),
        (Command.MESSAGE, Reply(250, "2.0.0", "Queued as 4711"), "250 2.0.0 Queued as 4711"),
        (Command.MESSAGE, Reply(554, "5.7.1", "Your code is 123456 looks like spam"), "554 5.7.1 ***"),
        (Command.MESSAGE, Reply(354, "", "123456"), "354 ***"),
    ],
)
def test_a_refusal_may_quote_the_mail_and_shows_its_codes(command: Command, reply: Reply, shown: str) -> None:
    said = Said()
    said.transcript.reply(command, reply)
    assert said.line == shown


def test_a_breakdown_is_told_in_our_words() -> None:
    said = Said()
    said.transcript.breakdown("closed the connection")
    assert said.line == "(closed the connection)"


def test_connections_are_told_apart() -> None:
    first, second = Said(), Said()
    for said in (first, second):
        said.transcript.write(b"EHLO a\r\n")
    assert first.events[0].connection != second.events[0].connection
