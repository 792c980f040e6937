"""The SMTP server of a campaign: a process of its own that outlives every crash, goes wrong by chance, and strikes.

A mail is in its ledger, on the disk, before the octets that accept it are written. On command it kills a server at the
very moment when that server's session comes to a stage; only when the server is dead does the session go on, so that
what happens then is what a real SMTP server would do with what it has.

Commands come as JSON lines on standard input, events leave on standard output; it ends with its input.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from crash.ledger import Ledger, Mail
from harness import fault
from harness.fault import Action, State
from harness.smtp_server import ALL_EXTENSIONS, SmtpServer
from harness.smtp_session import Session
from harness.wire import Disconnected, Wire

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]*>)", re.IGNORECASE | re.MULTILINE)
_LOCAL_PART = re.compile(rb"[^@]+")
_RECEIVE_BUFFER = 16384
"""Small, so that a long mail arrives in many pieces."""

MARKS = ("EHLO", "MAIL", "RCPT", "DATA", "BODY", "RECEIVED", "ACCEPTED", "IDLE")
"""The stages at which a server can be killed: before the reply; in the message; after it, before and after the ledger;
and after the reply."""


@dataclass(slots=True)
class Mark:
    """Whom to kill, and when."""

    stage: str
    pid: int
    skip: int
    """So many sessions come to the stage unharmed before."""


class Sink(SmtpServer):
    """The server."""

    def __init__(self, ledger: Ledger, random: Random, rate: float) -> None:
        super().__init__(receive_buffer=_RECEIVE_BUFFER)
        self.book = ledger
        self.random = random
        self.rate = rate
        """How often something goes wrong, for each state that a mail comes to."""
        self.marks: dict[str, Mark] = {}
        """By the name in EHLO of the server to kill."""
        self._faults: dict[State, tuple[Action, ...]] = {
            State.EHLO: (fault.close, fault.reply_and_close(b"421 4.3.2 Going down\r\n")),
            State.MAIL: (fault.reply_with(b"451 4.3.0 Not now\r\n"), fault.close, fault.reset),
            State.RCPT: (
                fault.reply_with(b"451 4.2.0 Greylisted\r\n"),
                fault.reply_with(b"550 5.1.1 No such user\r\n"),
                fault.reply_and_close(b"421 4.3.2 Going down\r\n"),
                fault.close,
            ),
            State.DATA: (
                self._pause,
                self._pause,
                fault.reply_with(b"451 4.3.0 Not now\r\n"),
                fault.reply_with(b"554 5.6.0 No\r\n"),
                fault.reset,
                fault.stall,
            ),
            State.BODY: (fault.close, fault.reset),  # no pause: what it had not read would look as if it had come late
            State.RECEIVED: (
                self._pause,
                fault.reply_with(b"451 4.3.0 Not now\r\n"),
                fault.reply_with(b"554 5.6.0 No\r\n"),
                fault.reply_and_close(b"421 4.3.2 Going down\r\n"),
                fault.close,
                fault.reset,
                fault.stall,
            ),
            State.ACCEPTED: (self._pause, fault.close, fault.reset, fault.stall),
        }

    def fault_at(self, state: State) -> Action | None:
        """Decide whether something goes wrong now."""
        choices = self._faults.get(state, ())
        return self.random.choice(choices) if choices and self.random.random() < self.rate else None

    def calm(self) -> None:
        """Be a good server from now on, and let go of those who wait for a reply that will not come."""
        self.rate = 0.0
        self.marks.clear()
        for session in self.sessions:
            if session.wire.has_ended:
                session.wire.reset()

    async def _pause(self, wire: Wire, reply: bytes) -> None:
        await asyncio.sleep(self.random.choice((0.05, 0.3, 1.0, 4.0)))


class SinkSession(Session):
    """One connection."""

    server: Sink

    def __init__(self, server: SmtpServer, wire: Wire, *, number: int) -> None:
        super().__init__(server, wire, number=number)
        self.client_name = ""

    async def run(self) -> None:
        """Serve the connection, and forget it: a campaign has many."""
        try:
            await super().run()
        finally:
            self.server.sessions.remove(self)

    async def _ehlo(self, argument: bytes) -> None:
        self.client_name = argument.decode()
        without = self.server.random.choice(((), ("CHUNKING",), ("CHUNKING", "PIPELINING")))
        self.server.extensions = tuple(keyword for keyword in ALL_EXTENSIONS if keyword not in without)
        await super()._ehlo(argument)

    async def _come_to(self, state: State, reply: bytes = b"") -> bool:
        await self._strike(state)
        action = self.server.fault_at(state)
        if action is None:
            return await super()._come_to(state, reply)
        await action(self.wire, reply)
        if self.wire.has_ended:
            raise Disconnected
        return action != self.server._pause  # after a pause all goes on as if nothing had been

    async def _end_of_message(self, content: bytes) -> None:
        received_at = time.time()
        if not await self._come_to(State.RECEIVED, b"451 4.3.0 Not accepted\r\n"):
            found, local_part = _MESSAGE_ID.search(content), _LOCAL_PART.match(self._recipients[0])
            mail = Mail(
                key=local_part[0].decode() if local_part else "",
                received_at=received_at,
                sha256=hashlib.sha256(content).hexdigest(),
                message_id=found[1].decode() if found else "",
                server=self.client_name,
            )
            self.server.book.write(mail)
            await self._reply(State.ACCEPTED, b"250 2.0.0 Queued\r\n")
        self.contents.clear()
        self._forget_transaction()
        await self._come_to(State.IDLE)

    async def _strike(self, state: State) -> None:
        mark = self.server.marks.get(self.client_name)
        if mark is None or mark.stage != state.name:
            return
        if mark.skip:
            mark.skip -= 1
            return
        del self.server.marks[self.client_name]
        os.kill(mark.pid, signal.SIGKILL)
        while _is_alive(mark.pid):  # noqa: ASYNC110 - it is no child of ours, nothing tells of its end
            await asyncio.sleep(0.001)


Sink.session_type = SinkSession


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def _tell(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _obey(sink: Sink, command: dict[str, Any]) -> None:
    match command:
        case {"mark": str(server), "stage": str(stage), "pid": int(pid), "skip": int(skip)}:
            sink.marks[server] = Mark(stage, pid, skip)
        case {"unmark": str(server)}:
            sink.marks.pop(server, None)
            _tell({"unmarked": server})
        case {"calm": True}:
            sink.calm()
            _tell({"calm": True})


async def _main(file: str, seed: str, rate: str) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    random = Random(seed)  # noqa: S311 - chance, the same in every run
    with Ledger(Path(file)) as ledger:
        async with Sink(ledger, random, float(rate)) as sink:
            _tell({"port": sink.port})
            while line := await commands.readline():
                _obey(sink, json.loads(line))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
