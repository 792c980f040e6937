"""The far end: Postfix's smtp-sink, which takes mails, counts them and throws them away; and one that tells when."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.process import running
from harness.servers.process import HOST, free_ports, unprivileged
from harness.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BACKLOG = "1024"
STALLED = ("-w", "600")
"""Options of a provider that does not answer: it is silent after DATA."""
_MAX_SECONDS = 30.0
_TAIL = 200
"""Octets of the counter's output that hold its last state."""
_COUNT = re.compile(rb"mesg=(\d+)")


@dataclass(frozen=True, slots=True)
class Sink:
    """A running smtp-sink."""

    port: int
    counter: Path

    def received(self) -> int:
        """Return how many mails have arrived whole since it began."""
        with self.counter.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            counts = _COUNT.findall(file.read())
        return int(counts[-1]) if counts else 0


@contextmanager
def running_sink(folder: Path, *options: str) -> Iterator[Sink]:
    """Run smtp-sink; with :data:`STALLED` it takes no mail at all."""
    (port,) = free_ports(1)
    account = unprivileged()
    as_account = ["-u", account.pw_name] if os.geteuid() == 0 else []
    command: list[str | Path] = [program("smtp-sink"), *as_account, *options, "-c", f"{HOST}:{port}", _BACKLOG]
    with running(command, port=port, folder=folder):
        yield Sink(port, folder / f"{port}.out")


class Clock:
    """An SMTP server, in a thread of this process, that notes when it accepted each mail."""

    def __init__(self) -> None:
        self.port = 0
        self._accepted: queue.SimpleQueue[float] = queue.SimpleQueue()

    def next_accepted(self) -> float:
        """Wait for a mail and return when its reply was written, by ``time.perf_counter``."""
        return self._accepted.get(timeout=_MAX_SECONDS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the mails of one connection."""
        writer.write(b"220 clock\r\n")
        with suppress(ConnectionError):
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-clock\r\n250 PIPELINING\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self._accepted.put(time.perf_counter())
                    writer.write(b"250 taken\r\n")
                else:
                    writer.write(b"250 well\r\n")
        writer.close()


@contextmanager
def running_clock() -> Iterator[Clock]:
    """Run a clock."""
    clock = Clock()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(clock.serve, HOST, 0))
    clock.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
