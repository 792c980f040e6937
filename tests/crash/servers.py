"""The servers of a campaign as processes that are killed, frozen, stopped and started again at the same address."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.servers.process import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
GRACE_SECONDS = 0.5


class Server:
    """One server: a name, an address, and at most one process at a time.

    Args:
        name: By which the SMTP server knows it.
        flags: Of ``serve``, beside the address.
        folder: Where its log goes.
        variables: Of its environment.
    """

    def __init__(self, name: str, flags: tuple[str, ...], folder: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.address = f"{HOST}:{free_ports(1)[0]}"
        self.log = folder / f"{name}.log"
        self._flags = flags
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *, until_ready: bool = True) -> float:
        """Start a process, and return how many seconds it took until it served.

        Raises:
            RuntimeError: It does not come to serve.
        """
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "smtpconnector_server", "serve", "--listen", self.address),
                *("--log-format", "json", "--grace", str(GRACE_SECONDS), *self._flags),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **self._variables},
            )
        if until_ready:
            await self.ready()
        return time.monotonic() - began

    async def ready(self) -> None:
        """Wait until it serves.

        Raises:
            RuntimeError: It has ended, or it takes too long.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_READY_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise RuntimeError(f"{self.name} does not serve after {_READY_SECONDS} s: see {self.log}") from None
        if not line:
            raise RuntimeError(f"{self.name} ended with {await self._process.wait()} before it served: see {self.log}")

    async def kill(self) -> None:
        """Send SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.gone()

    async def gone(self, *, within: float | None = None) -> bool:
        """Wait until its process has ended, and return whether it has."""
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._process.wait()
        return not self.is_up

    async def stop(self) -> None:
        """Stop it as an operator does.

        Raises:
            RuntimeError: It does not stop.
        """
        self.signal(signal.SIGTERM)
        if not await self.gone(within=_STOP_SECONDS):
            await self.kill()
            raise RuntimeError(f"{self.name} does not stop within {_STOP_SECONDS} s of SIGTERM: see {self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def limit_files(self, octets: int) -> None:
        """Let no file of it grow beyond a size: to it the disk is full. -1: without limit."""
        with suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (octets, -1))
