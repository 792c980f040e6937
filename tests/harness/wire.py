"""One TCP connection that the scripted server accepted: octets in, octets out, TLS on request.

Every octet is recorded as the SMTP layer sees it, before encryption and after decryption. It stands on the bare socket
and ``ssl.MemoryBIO``, not on an asyncio transport: so a test decides what one segment holds, when reading stops, and
whether the end is a FIN, a close_notify or a reset.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from socket import IPPROTO_TCP, SHUT_RD, SHUT_WR, SO_LINGER, SOL_SOCKET, TCP_NODELAY, socket

_CHUNK = 65536
_ABORTIVE_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close() sends RST


class Direction(Enum):
    """Who sent an octet."""

    CLIENT = "C"
    SERVER = "S"


@dataclass(frozen=True, slots=True)
class Octets:
    """Octets that one read or one write moved."""

    direction: Direction
    octets: bytes
    at: float
    """The loop's clock, in seconds."""
    encrypted: bool


class Disconnected(Exception):  # noqa: N818 - an event of every connection, not an error
    """The connection is over: the client went, or a fault ended it."""


class Wire:
    """The server's side of one connection."""

    def __init__(self, connection: socket) -> None:
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self.record: list[Octets] = []
        self.has_ended = False
        """True once the server will neither answer nor understand anything any more."""
        self.skipped_sends = 0
        """How many of the next sends are left out, because a fault has sent them ahead of their time."""
        self.awaits_handshake = False
        """True while what comes is TLS's own and no SMTP: it is not recorded."""
        self._is_reset = False
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._tls_in = ssl.MemoryBIO()
        self._tls_out = ssl.MemoryBIO()

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS protects the connection."""
        return self._tls is not None

    @property
    def has_unread(self) -> bool:
        """Whether octets have arrived that no command has used yet."""
        return bool(self._buffer)

    @property
    def is_closed(self) -> bool:
        """Whether the socket was given back."""
        return self._socket.fileno() < 0

    async def read_line(self) -> bytes:
        """Read up to and including the next CRLF. A bare CR or LF is part of the line."""
        while b"\r\n" not in self._buffer:
            await self._fill()
        return self._take(self._buffer.index(b"\r\n") + 2)

    async def read_exactly(self, count: int) -> bytes:
        """Read ``count`` octets."""
        while len(self._buffer) < count:
            await self._fill()
        return self._take(count)

    async def read_some(self) -> None:
        """Wait until something unread is there."""
        if not self._buffer:
            await self._fill()

    async def send(self, octets: bytes) -> None:
        """Write ``octets`` at once; on a clear connection and where they fit, in one segment."""
        if self.skipped_sends:
            self.skipped_sends -= 1
            return
        if self.has_ended:
            raise Disconnected
        self._note(Direction.SERVER, octets)
        if self._tls is None:
            await self._socket_send(octets)
        else:
            self._tls.write(octets)
            await self._flush_tls()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Take the server's part in a handshake.

        Raises:
            ssl.SSLError: The handshake failed, for one because the client distrusts the certificate.
        """
        tls = context.wrap_bio(self._tls_in, self._tls_out, server_side=True)
        self._tls_in.write(self._take(len(self._buffer)))  # the client may have begun already
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_tls()
                self._tls_in.write(await self._socket_receive())
            except ssl.SSLError:
                await self._flush_tls()  # the alert
                raise
            else:
                await self._flush_tls()
                self._tls = tls
                self.awaits_handshake = False
                return

    async def close_notify(self) -> None:
        """End TLS politely, then send FIN."""
        if self._tls is not None:
            try:
                self._tls.unwrap()
            except ssl.SSLError:  # it wants the client's close_notify, which need not come
                await self._flush_tls()
        self.finish()

    def finish(self) -> None:
        """Send FIN, as a server does that closes: nothing more is said, and whatever still comes is discarded."""
        self.has_ended = True
        with suppress(OSError):  # the client was faster
            self._socket.shutdown(SHUT_WR)

    def reset(self) -> None:
        """Make the end a RST, as of a host that crashed."""
        self.has_ended = self._is_reset = True
        with suppress(OSError):  # the client was faster
            self._socket.setsockopt(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
            self._socket.shutdown(SHUT_RD)  # wakes a pending read; the session's end closes the socket

    def go_silent(self) -> None:
        """Say nothing ever more, without a sign that it is so."""
        self.has_ended = True

    async def watch_client_go(self) -> None:
        """Read and discard until the client ends the connection; after a reset there is nothing to wait for."""
        try:
            while not self._is_reset:
                await self._receive()
        except Disconnected:
            pass

    def close(self) -> None:
        """Give the socket back. Whatever has not been read makes it a reset."""
        self._socket.close()

    async def _fill(self) -> None:
        if self.has_ended:
            raise Disconnected
        octets = await self._receive()
        if self.has_ended:  # a test struck meanwhile
            raise Disconnected
        self._buffer += octets

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _note(self, direction: Direction, octets: bytes) -> None:
        self.record.append(Octets(direction, octets, self._loop.time(), self.is_encrypted))

    async def _receive(self) -> bytes:
        octets = await (self._socket_receive() if self._tls is None else self._tls_receive(self._tls))
        if not self.awaits_handshake:
            self._note(Direction.CLIENT, octets)
        return octets

    async def _tls_receive(self, tls: ssl.SSLObject) -> bytes:
        while True:
            try:
                octets = tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                self._tls_in.write(await self._socket_receive())
            except ssl.SSLError as error:  # an alert instead of data
                raise Disconnected from error
            else:
                if not octets:  # close_notify
                    raise Disconnected
                return octets

    async def _flush_tls(self) -> None:
        if self._tls_out.pending:
            await self._socket_send(self._tls_out.read())

    async def _socket_receive(self) -> bytes:
        try:
            octets = await self._loop.sock_recv(self._socket, _CHUNK)
        except OSError as error:
            raise Disconnected from error
        if not octets:
            raise Disconnected
        return octets

    async def _socket_send(self, octets: bytes) -> None:
        try:
            await self._loop.sock_sendall(self._socket, octets)
        except OSError as error:
            raise Disconnected from error
