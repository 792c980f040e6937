"""The scripted SMTP server: a good ESMTP server that goes wrong exactly where a test says.

Its ledger holds every message that it accepted, its sessions hold every octet of every connection: together they are
the truth that a client's answer is held against.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from socket import SO_RCVBUF, SOL_SOCKET, socket
from typing import TYPE_CHECKING, Self

from harness.smtp_session import Accepted, Session
from harness.wire import Wire

if TYPE_CHECKING:
    import ssl

    from harness.fault import Fault, State
    from harness.sasl import Credentials

ALL_EXTENSIONS = ("PIPELINING", "CHUNKING", "SIZE 35882577", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


class SmtpServer:
    """Listens on a free port of 127.0.0.1 while its context is open.

    Args:
        faults: What goes wrong.
        extensions: The EHLO keywords beside STARTTLS and AUTH.
        tls: The server's certificate. None: no TLS.
        implicit_tls: TLS begins with the connection; otherwise STARTTLS is offered.
        credentials: Who is let in. None: AUTH is not offered.
        mechanisms: The SASL mechanisms offered.
        auth_in_clear: Whether AUTH is offered before TLS although STARTTLS is offered.
        runs_refused_chunks: Take the octets of a refused BDAT for commands, as go-smtp did (its issue 315).
        receive_buffer: Octets that the kernel takes for the server before it reads. None: the kernel's choice.
    """

    session_type: type[Session] = Session
    """What serves a connection."""

    def __init__(
        self,
        *faults: Fault,
        extensions: tuple[str, ...] = ALL_EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        credentials: Credentials | None = None,
        mechanisms: tuple[str, ...] = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"),
        auth_in_clear: bool = False,
        runs_refused_chunks: bool = False,
        receive_buffer: int | None = None,
    ) -> None:
        self.faults = faults
        self.extensions = extensions
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.credentials = credentials
        self.mechanisms = mechanisms
        self.auth_in_clear = auth_in_clear
        self.runs_refused_chunks = runs_refused_chunks
        self.host = "127.0.0.1"
        self.port = 0
        self.ledger: list[Accepted] = []
        self.sessions: list[Session] = []
        self._receive_buffer = receive_buffer
        self._reached: defaultdict[State, asyncio.Event] = defaultdict(asyncio.Event)
        self._listener = socket()
        self._serving: set[asyncio.Task[None]] = set()

    async def reached(self, state: State) -> None:
        """Wait until a session has come to ``state``."""
        await self._reached[state].wait()

    async def all_sessions_ended(self) -> None:
        """Wait until no connection is left."""
        while running := [task for task in self._serving if not task.done()]:
            await asyncio.wait(running)

    def note_arrival(self, state: State) -> None:
        """Wake whoever waits for ``state``."""
        self._reached[state].set()

    async def __aenter__(self) -> Self:
        if self._receive_buffer is not None:
            self._listener.setsockopt(SOL_SOCKET, SO_RCVBUF, self._receive_buffer)
        self._listener.settimeout(0)
        self._listener.bind((self.host, 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept)  # a cancelled sock_accept may lose one
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        results = await asyncio.gather(*serving, return_exceptions=True)
        for session in self.sessions:
            session.wire.close()  # of a task that was cancelled before it began, nobody else does
        for result in results:
            if isinstance(result, Exception):  # a mistake of the harness must not pass unseen
                raise result

    def _accept(self) -> None:
        with suppress(BlockingIOError):  # the client has gone already
            connection, _ = self._listener.accept()
            connection.settimeout(0)
            session = self.session_type(self, Wire(connection), number=len(self.sessions) + 1)
            self.sessions.append(session)
            task = asyncio.create_task(session.run())
            self._serving.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._serving.discard(task)
