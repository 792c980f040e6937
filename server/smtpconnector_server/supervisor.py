"""Several worker processes on one port.

Each worker is a whole server of its own, started anew rather than forked (gRPC does not survive a fork), and the kernel
spreads connections over them (SO_REUSEPORT). A worker that dies is replaced; one that cannot even start ends them all,
lest it be started for ever.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.telemetry.shared import SharedMetrics

WORKER_VARIABLE: Final = "SMTPCONNECTOR_WORKER_OF"
"""Set in a worker's environment: the address that it shares with the others."""
_RESTART_SECONDS: Final = 1.0
"""Between the death of a worker and its replacement."""

_log = structlog.get_logger()


class Supervisor:
    """Starts workers, keeps their number and stops them.

    Args:
        command: What a worker runs.
        count: How many workers.
        listen: HOST:PORT; port 0 takes a free one.
        metrics: Where the workers' metrics go. None: nowhere.
    """

    def __init__(self, command: Sequence[str], count: int, listen: str, metrics: SharedMetrics | None = None) -> None:
        self._command = command
        self._count = count
        self._metrics = metrics
        self._reservation = _reserve(listen)
        host, _, _ = listen.rpartition(":")
        self.address = f"{host}:{self._reservation.getsockname()[1]}"
        """The address that all workers serve, with the real port."""
        self._stopping = asyncio.Event()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._failed_start: int | None = None

    async def run(self, on_ready: Callable[[str], None]) -> int:
        """Run until a signal, or until a worker cannot start.

        Args:
            on_ready: Told the address once every worker serves.

        Returns:
            The exit code: 0, or that of the worker that could not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on_hangup)
        ready = [loop.create_future() for _ in range(self._count)]
        async with asyncio.TaskGroup() as group:
            for worker, future in enumerate(ready):
                group.create_task(self._keep_worker(worker, future))
            group.create_task(self._announce(ready, on_ready))
        self._reservation.close()
        return self._failed_start or 0

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            for process in self._processes:
                process.terminate()  # once more, which ends a draining worker at once
        self._stopping.set()

    def _pass_on_hangup(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGHUP)

    async def _announce(self, ready: Sequence[asyncio.Future[None]], on_ready: Callable[[str], None]) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        everybody = asyncio.ensure_future(asyncio.wait(ready))
        await asyncio.wait((everybody, stopping), return_when=asyncio.FIRST_COMPLETED)
        if everybody.done():
            on_ready(self.address)
        everybody.cancel()
        stopping.cancel()

    async def _keep_worker(self, number: int, ready: asyncio.Future[None]) -> None:
        environment = {**os.environ, WORKER_VARIABLE: self.address}
        if self._metrics is not None:
            environment.update(self._metrics.environment(number))
        while not self._stopping.is_set():
            process = await asyncio.create_subprocess_exec(
                *self._command, stdout=asyncio.subprocess.PIPE, env=environment
            )
            self._processes.add(process)
            code = await self._watch(process, ready)
            self._processes.discard(process)
            if self._stopping.is_set():
                return
            if not ready.done():
                self._failed_start = code or 1
                self._stopping.set()
                return
            _log.error("worker_died", exit_code=code)
            if self._metrics is not None:
                self._metrics.note_death(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _RESTART_SECONDS)

    async def _watch(self, process: asyncio.subprocess.Process, ready: asyncio.Future[None]) -> int:
        """Wait for a worker's end, which a signal to this process passes on."""
        assert process.stdout is not None  # noqa: S101 - because of stdout=PIPE
        stopping = asyncio.ensure_future(self._stopping.wait())
        ended = asyncio.ensure_future(process.wait())
        said = asyncio.ensure_future(process.stdout.readline())
        try:
            await asyncio.wait((said, stopping), return_when=asyncio.FIRST_COMPLETED)
            if said.done() and said.result() and not ready.done():
                ready.set_result(None)
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.terminate()
            return await ended
        finally:
            stopping.cancel()
            said.cancel()


def worker_command() -> list[str]:
    """Return what starts this very command again."""
    return [sys.executable, "-m", "smtpconnector_server", *sys.argv[1:]]


def _reserve(listen: str) -> socket.socket:
    """Bind the port without listening on it, so that it stays ours and the workers can share it.

    Raises:
        OSError: It cannot be bound.
    """
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    reservation = socket.socket(family, kind, protocol)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(address)
    return reservation
