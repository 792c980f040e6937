"""One session of the scripted SMTP server: the SMTP that a good server speaks, and the places where a fault may strike.

Two invariants: a message is in the ledger before the octets that accept it are written, and whatever is due passes
through ``_come_to``, so that no state is out of a fault's reach.
"""

from __future__ import annotations

import binascii
import re
import ssl
from base64 import b64decode, b64encode
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.fault import Action, Fault, State
from harness.sasl import MECHANISMS
from harness.wire import Direction, Disconnected, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.smtp_server import SmtpServer


@dataclass(frozen=True, slots=True)
class Command:
    """One command line as the server understood it."""

    line: bytes
    """Without its CRLF."""
    is_encrypted: bool
    is_followed: bool
    """More octets had come behind it before the server answered it."""

    @property
    def verb(self) -> bytes:
        """The first word, in capitals."""
        return self.line.partition(b" ")[0].upper()


@dataclass(frozen=True, slots=True)
class Accepted:
    """One message that the server took responsibility for."""

    connection: int
    sender: bytes
    recipients: tuple[bytes, ...]
    content: bytes
    """What the client meant: dots unstuffed, chunks joined."""


class Session:
    """One connection and the SMTP spoken on it."""

    def __init__(self, server: SmtpServer, wire: Wire, *, number: int) -> None:
        self.server = server
        self.wire = wire
        self.wire.awaits_handshake = server.tls is not None and server.implicit_tls
        self.number = number
        self.commands: list[Command] = []
        self.contents: list[bytes] = []
        """The octets of each message as they were sent: dots stuffed, with the final dot; chunks joined."""
        self.handshake_error: ssl.SSLError | None = None
        self._octets_before_fault: int | None = None
        self._visits: Counter[State] = Counter()
        self._is_authenticated = False
        self._sender: bytes | None = None
        self._recipients: list[bytes] = []
        self._chunks = bytearray()
        self._handlers: dict[bytes, Callable[[bytes], Awaitable[None]]] = {
            b"EHLO": self._ehlo,
            b"STARTTLS": self._starttls,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"BDAT": self._bdat,
            b"RSET": self._rset,
            b"QUIT": self._quit,
        }

    @property
    def verbs(self) -> list[bytes]:
        """The commands by name, in order."""
        return [command.verb for command in self.commands]

    @property
    def client_octets(self) -> bytes:
        """All that the client said."""
        return b"".join(item.octets for item in self.wire.record if item.direction is Direction.CLIENT)

    @property
    def octets_after_fault(self) -> bytes:
        """What the client said after the last fault; empty when there was none."""
        return b"" if self._octets_before_fault is None else self.client_octets[self._octets_before_fault :]

    async def strike(self, action: Action) -> None:
        """Do something to the connection now, whatever it is waiting for."""
        self._octets_before_fault = len(self.client_octets)
        await action(self.wire, b"")

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            await self._serve()
        except Disconnected:
            await self.wire.watch_client_go()
        except ssl.SSLError as error:
            self.handshake_error = error
        finally:
            self.wire.close()

    async def _serve(self) -> None:
        await self._come_to(State.CONNECT)
        if self.server.tls and self.server.implicit_tls:
            await self._start_tls(self.server.tls)
        await self._reply(State.GREETING, b"220 mail.example.com ESMTP ready\r\n")
        while True:
            command = await self._read_command()
            await self._handlers.get(command.verb, self._unknown)(command.line.partition(b" ")[2])

    async def _read_command(self) -> Command:
        line = (await self.wire.read_line())[:-2]
        command = Command(line, self.wire.is_encrypted, self.wire.has_unread)
        self.commands.append(command)
        return command

    async def _come_to(self, state: State, reply: bytes = b"") -> bool:
        """Note the arrival and let a fault strike. Returns whether one did."""
        self._visits[state] += 1
        fault = next((fault for fault in self.server.faults if self._strikes(fault, state)), None)
        if fault is not None:
            self._octets_before_fault = len(self.client_octets)
        self.server.note_arrival(state)
        if fault is not None:
            await fault.action(self.wire, reply)
            if self.wire.has_ended:
                raise Disconnected
        return fault is not None

    def _strikes(self, fault: Fault, state: State) -> bool:
        return (
            fault.state is state
            and fault.connection in {None, self.number}
            and fault.occurrence in {None, self._visits[state]}
        )

    async def _reply(self, state: State, reply: bytes) -> bool:
        """Send the reply, or what a fault makes of it. Returns whether what was sent is positive (2yz or 3yz)."""
        before = len(self.wire.record)
        if not await self._come_to(state, reply):
            await self.wire.send(reply)
        sent = b"".join(item.octets for item in self.wire.record[before:]) or reply
        return sent.startswith((b"2", b"3"))

    async def _unknown(self, argument: bytes) -> None:
        await self.wire.send(b"500 5.5.1 Unknown command\r\n")

    async def _ehlo(self, argument: bytes) -> None:
        self._forget_transaction()
        keywords = ["mail.example.com", *self.server.extensions]
        can_start_tls = self.server.tls is not None and not self.wire.is_encrypted
        if can_start_tls:
            keywords.append("STARTTLS")
        if self.server.credentials and (not can_start_tls or self.server.auth_in_clear):
            keywords.append("AUTH " + " ".join(self.server.mechanisms))
        lines = [f"250-{keyword}\r\n" for keyword in keywords[:-1]] + [f"250 {keywords[-1]}\r\n"]
        is_second = self.wire.is_encrypted and not self.server.implicit_tls
        await self._reply(State.EHLO2 if is_second else State.EHLO, "".join(lines).encode())

    async def _starttls(self, argument: bytes) -> None:
        if self.server.tls is None or self.wire.is_encrypted:
            await self.wire.send(b"503 5.5.1 STARTTLS is not offered\r\n")
        elif await self._reply(State.STARTTLS, b"220 2.0.0 Ready to start TLS\r\n"):
            await self._start_tls(self.server.tls)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        self.wire.awaits_handshake = True
        await self._come_to(State.TLS)
        await self.wire.start_tls(context)

    async def _auth(self, argument: bytes) -> None:
        name, _, initial = argument.partition(b" ")
        mechanism = MECHANISMS.get(name.upper())
        if mechanism is None or self.server.credentials is None:
            await self.wire.send(b"504 5.5.4 Unrecognized authentication type\r\n")
            return
        state = State.AUTH1

        async def ask(challenge: bytes) -> bytes:
            nonlocal state
            if not await self._reply(state, b"334 " + b64encode(challenge) + b"\r\n"):
                raise _AuthRefusedError
            state = State.AUTH2
            return _decode((await self.wire.read_line())[:-2])

        try:
            is_right = await mechanism(ask, _decode(initial) if initial else None, self.server.credentials)
            if is_right:
                self._is_authenticated = await self._reply(state, b"235 2.7.0 Authentication successful\r\n")
            else:
                await self._reply(state, b"535 5.7.8 Authentication credentials invalid\r\n")
        except _AuthRefusedError:
            pass  # by a fault; it has said so
        except binascii.Error:  # for one the lone asterisk with which a client gives up
            await self.wire.send(b"501 5.5.2 Cannot decode response\r\n")

    async def _mail(self, argument: bytes) -> None:
        if self.server.credentials and not self._is_authenticated:
            await self._reply(State.MAIL, b"530 5.7.0 Authentication required\r\n")
        elif await self._reply(State.MAIL, b"250 2.1.0 Sender ok\r\n"):
            self._sender = _path(argument)

    async def _rcpt(self, argument: bytes) -> None:
        if self._sender is None:
            await self.wire.send(b"503 5.5.1 MAIL first\r\n")
        elif await self._reply(State.RCPT, b"250 2.1.5 Recipient ok\r\n"):
            self._recipients.append(_path(argument))

    async def _data(self, argument: bytes) -> None:
        invites = b"354 Go ahead\r\n" if self._recipients else b"503 5.5.1 No valid recipients\r\n"
        if not await self._reply(State.DATA, invites):
            return
        await self.wire.read_some()
        await self._come_to(State.BODY)
        lines = [await self.wire.read_line()]
        while lines[-1] != b".\r\n":
            lines.append(await self.wire.read_line())
        self.contents.append(b"".join(lines))
        await self._end_of_message(b"".join(line.removeprefix(b".") for line in lines[:-1]))

    async def _bdat(self, argument: bytes) -> None:
        size, _, last = argument.partition(b" ")
        if not self._recipients and self.server.runs_refused_chunks:
            await self.wire.send(b"503 5.5.1 No valid recipients\r\n")
            return
        if int(size):
            await self.wire.read_some()
        await self._come_to(State.BODY)
        self._chunks += await self.wire.read_exactly(int(size))
        if not self._recipients:
            self._chunks.clear()
            await self.wire.send(b"503 5.5.1 No valid recipients\r\n")
        elif last.upper() != b"LAST":
            await self.wire.send(b"250 2.0.0 Chunk ok\r\n")
        else:
            self.contents.append(bytes(self._chunks))
            await self._end_of_message(bytes(self._chunks))

    async def _end_of_message(self, content: bytes) -> None:
        if not await self._come_to(State.RECEIVED, b"451 4.3.0 Not accepted\r\n"):
            self.server.ledger.append(Accepted(self.number, self._sender or b"", tuple(self._recipients), content))
            await self._reply(State.ACCEPTED, b"250 2.0.0 Queued\r\n")
        self._forget_transaction()
        await self._come_to(State.IDLE)

    async def _rset(self, argument: bytes) -> None:
        self._forget_transaction()
        await self._reply(State.RSET, b"250 2.0.0 Reset\r\n")

    async def _quit(self, argument: bytes) -> None:
        await self._reply(State.QUIT, b"221 2.0.0 Bye\r\n")
        self.wire.finish()
        raise Disconnected

    def _forget_transaction(self) -> None:
        self._sender = None
        self._recipients = []
        self._chunks.clear()


class _AuthRefusedError(Exception):
    pass


def _path(argument: bytes) -> bytes:
    """The address between the angle brackets of ``FROM:<...>`` or ``TO:<...>``."""
    found = re.match(rb"(?:FROM|TO):<([^<>]*)>", argument, re.IGNORECASE)
    return found[1] if found else b""


def _decode(response: bytes) -> bytes:
    return b"" if response == b"=" else b64decode(response, validate=True)
