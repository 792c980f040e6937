"""The SMTP server of a campaign as the campaign sees it: a process that takes orders."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class FarEnd:
    """See :mod:`crash.sink`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._process = process
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    def mark(self, server: str, stage: str, pid: int, *, skip: int) -> None:
        """Have a server killed when one of its sessions comes to a stage, after some that go unharmed."""
        self._tell({"mark": server, "stage": stage, "pid": pid, "skip": skip})

    async def unmark(self, server: str) -> None:
        """Take that back; it is done when this returns, or the server is dead."""
        self._tell({"unmark": server})
        await self._event("unmarked")

    async def calm(self) -> None:
        """Let it be a good server from now on."""
        self._tell({"calm": True})
        await self._event("calm")

    def _tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _event(self, name: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while name not in (event := await self._events.get()):
                self._events.put_nowait(event)
                await asyncio.sleep(0.01)
            return event

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._events.put_nowait(json.loads(line))


@asynccontextmanager
async def far_end(ledger: Path, *, seed: str, fault_rate: float) -> AsyncIterator[FarEnd]:
    """Run it inside the context.

    Args:
        ledger: Its ledger.
        seed: Of its chance.
        fault_rate: How often something goes wrong, for each state that a mail comes to.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crash.sink", str(ledger), seed, str(fault_rate)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    end = FarEnd(process)
    try:
        end.port = (await end._event("port"))["port"]
        yield end
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await end._reading
