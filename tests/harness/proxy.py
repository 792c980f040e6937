"""A TCP proxy that makes a good network bad, and counts the round trips of what passes through it.

The order of octets within a direction is always kept, as TCP keeps it. The handshake of TCP itself is not delayed: the
client is connected as soon as the proxy's kernel says so.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from random import Random
from socket import IPPROTO_TCP, SHUT_RDWR, SHUT_WR, SO_LINGER, SOL_SOCKET, TCP_NODELAY, socket
from typing import TYPE_CHECKING, Self, TypeAlias

from harness.wire import Direction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK = 65536
_ABORTIVE_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close() sends RST

_Queue: TypeAlias = "asyncio.Queue[tuple[float, bytes]]"


class Cut(Enum):
    """How a direction ends before its time."""

    RESET = auto()
    """Both sides get a RST."""
    FINISH = auto()
    """The receiver gets a FIN, the other direction goes on: a half-close."""
    SILENCE = auto()
    """The rest disappears, FIN and all: a black hole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxics:
    """What happens to the octets of one direction. The default is: nothing."""

    latency: float = 0.0
    """Seconds that every octet is late."""
    jitter: float = 0.0
    """Up to so many seconds more, by chance."""
    bandwidth: float | None = None
    """Octets per second."""
    slices: int | None = None
    """Octets per write, so that no reply or command comes in one piece."""
    corrupted_octet: int | None = None
    """The index of an octet whose bits are all inverted."""
    cut_after: int | None = None
    """So many octets pass, then comes the cut."""
    cut: Cut = Cut.RESET


class Proxy:
    """Listens on a free port of 127.0.0.1 while its context is open, and connects each client to ``port`` there.

    Args:
        port: Where the server listens.
        upstream: What happens on the way to the server.
        downstream: What happens on the way to the client.
    """

    def __init__(self, port: int, *, upstream: Toxics = Toxics(), downstream: Toxics = Toxics()) -> None:
        self.upstream = upstream
        self.downstream = downstream
        self.host = "127.0.0.1"
        self.port = 0
        self.links: list[Link] = []
        self._server_port = port
        self._listener = socket()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False

    def cut(self) -> None:
        """Reset all connections, and every new one, until :meth:`mend`: the server is away."""
        self._is_cut = True
        for link in self.links:
            link.reset()
        self.links.clear()

    def hold(self) -> None:
        """Let no octet pass until :meth:`mend`, and say nothing of it: the network is away."""
        self._flows.clear()

    def mend(self) -> None:
        """Let all be well again."""
        self._is_cut = False
        self._flows.set()

    async def __aenter__(self) -> Self:
        self._listener.settimeout(0)
        self._listener.bind((self.host, 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._tasks.add(asyncio.create_task(self._accept()))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()
        for result in results:
            if isinstance(result, Exception):  # a mistake of the harness must not pass unseen
                raise result

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            if self._is_cut:
                client.setsockopt(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
                client.close()
                continue
            server = socket()
            server.settimeout(0)
            link = Link(client, server, self._flows, seed=len(self.links))
            self.links.append(link)
            self._tasks.add(
                asyncio.create_task(link.run((self.host, self._server_port), self.upstream, self.downstream))
            )


class Link:
    """One client's connection through the proxy."""

    def __init__(self, client: socket, server: socket, flows: asyncio.Event, *, seed: int) -> None:
        self._client = client
        self._server = server
        self._flows = flows
        self._random = Random(seed)  # noqa: S311 - jitter, the same in every run
        self._loop = asyncio.get_running_loop()
        self._bursts: list[Direction] = []

    @property
    def round_trips(self) -> int:
        """How often the client spoke and then was answered, as the client sees it.

        With a latency above the machine's own hiccups this is exact: all that the client writes without waiting is one
        burst, however many segments it takes, because no answer can reach the client in between.
        """
        return sum(turn == (Direction.CLIENT, Direction.SERVER) for turn in pairwise(self._bursts))

    def reset(self) -> None:
        """End the connection by a RST to both sides, now."""
        for side in (self._client, self._server):
            with suppress(OSError):  # it has ended already
                side.setsockopt(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
                side.shutdown(SHUT_RDWR)

    async def run(self, server_address: tuple[str, int], upstream: Toxics, downstream: Toxics) -> None:
        """Pass octets on in both directions until both have ended."""
        try:
            await self._loop.sock_connect(self._server, server_address)
            for side in (self._client, self._server):
                side.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as pumps:
                for direction, toxics in ((Direction.CLIENT, upstream), (Direction.SERVER, downstream)):
                    queue: _Queue = asyncio.Queue(maxsize=64)
                    pumps.create_task(self._receive(direction, toxics, queue))
                    pumps.create_task(self._deliver(direction, toxics, queue))
        except* OSError:  # a side that resets is reset on the other side too
            for side in (self._client, self._server):
                side.setsockopt(SOL_SOCKET, SO_LINGER, _ABORTIVE_CLOSE)
        finally:
            self._client.close()
            self._server.close()

    async def _receive(self, sender: Direction, toxics: Toxics, queue: _Queue) -> None:
        source = self._client if sender is Direction.CLIENT else self._server
        due = 0.0
        octets = b"not yet ended"
        while octets:
            octets = await self._loop.sock_recv(source, _CHUNK)
            if sender is Direction.CLIENT and octets:
                self._note(sender)
            due = max(due, self._loop.time() + toxics.latency + self._random.uniform(0, toxics.jitter))
            await queue.put((due, octets))

    async def _deliver(self, sender: Direction, toxics: Toxics, queue: _Queue) -> None:
        sink = self._server if sender is Direction.CLIENT else self._client
        passed = 0
        async for octets in _pieces(queue, toxics):
            passed += len(octets)
            if sender is Direction.SERVER:
                self._note(sender)
            await self._flows.wait()
            await self._loop.sock_sendall(sink, octets)
        if toxics.cut_after is None or passed < toxics.cut_after or toxics.cut is Cut.FINISH:
            with suppress(OSError):  # the other side has gone already
                sink.shutdown(SHUT_WR)
        elif toxics.cut is Cut.RESET:
            raise ConnectionResetError
        while (await queue.get())[1]:
            pass  # discard the rest, so that the sender sees no sign of it

    def _note(self, speaker: Direction) -> None:
        if self._bursts[-1:] != [speaker]:
            self._bursts.append(speaker)


async def _pieces(queue: _Queue, toxics: Toxics) -> AsyncIterator[bytes]:
    """What is to be written, each piece when its time has come, until the sender's FIN or the cut."""
    loop = asyncio.get_running_loop()
    passed = 0
    while True:
        due, octets = await queue.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        if not octets:
            queue.put_nowait((due, octets))
            return
        size = toxics.slices or len(octets)
        for start in range(0, len(octets), size):
            piece = bytearray(octets[start : start + size])
            if toxics.corrupted_octet is not None and 0 <= toxics.corrupted_octet - passed < len(piece):
                piece[toxics.corrupted_octet - passed] ^= 0xFF
            if toxics.cut_after is not None:
                del piece[toxics.cut_after - passed :]
            passed += len(piece)
            if toxics.bandwidth:
                await asyncio.sleep(len(piece) / toxics.bandwidth)
            if piece:
                yield bytes(piece)
            if passed == toxics.cut_after:
                return
