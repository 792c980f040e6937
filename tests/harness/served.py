"""`smtpconnector serve` as a process of its own, with all that it writes kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Served:
    """A running process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.address = ""
        """Where it serves."""
        self.output = b""
        """What it wrote to standard output so far."""
        self.errors = b""
        """What it wrote to standard error so far; its workers write there too."""
        self._grew = asyncio.Event()
        self._reading = [asyncio.create_task(self._read("output")), asyncio.create_task(self._read("errors"))]

    async def line(self, event: str) -> dict[str, Any]:
        """Return the first log line with an event, waiting for it if need be."""
        async with asyncio.timeout(20):
            while True:
                lines = [json.loads(line) for line in self.errors.splitlines() if line.startswith(b"{")]
                for line in lines:
                    if line["event"] == event:
                        found: dict[str, Any] = line
                        return found
                self._grew.clear()
                await self._grew.wait()

    async def stop(self) -> int:
        """Stop it as an operator does and return its exit code, with all its output read."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            code = await self.process.wait()
            await asyncio.gather(*self._reading)
        return code

    def workers(self) -> list[int]:
        """Return the process ids of its workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]

    async def ready(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(20):
            while b"\n" not in self.output:
                if self.process.returncode is not None:
                    raise AssertionError(self.errors.decode())
                self._grew.clear()
                await self._grew.wait()
        self.address = self.output.split()[-1].decode()

    async def _read(self, name: str) -> None:
        stream = self.process.stdout if name == "output" else self.process.stderr
        assert stream is not None
        while octets := await stream.read(65536):
            setattr(self, name, getattr(self, name) + octets)
            self._grew.set()
        self._grew.set()


@asynccontextmanager
async def served(*flags: str, **environment: str) -> AsyncIterator[Served]:
    """Run `serve` on a free port with a log in JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smtpconnector_server"),
        *("serve", "--listen", "127.0.0.1:0", "--log-format", "json", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    running = Served(process)
    try:
        await running.ready()
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*running._reading)
