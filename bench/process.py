"""A process of a party: started and ready, its use of processor and memory read, ended with its context."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.servers.process import HOST
from harness.servers.programs import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Process:
    """A running process with its children."""

    pid: int
    seconds_to_ready: float
    """From its start until it took a connection."""

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        return sum(_cpu_seconds(pid) for pid in self._family())

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Return its memory in MB: resident now, or with ``VmHWM`` the most there ever was."""
        total = 0.0
        for pid in self._family():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += sum(float(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
        return total * 1024 / 1e6

    def _family(self) -> list[int]:
        family = [self.pid]
        for pid in family:  # grows while it is read: children of children
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    family.extend(map(int, (task / "children").read_text().split()))
        return family


@contextmanager
def running(
    command: Sequence[str | Path], *, port: int, folder: Path, variables: Mapping[str, str] = {}
) -> Iterator[Process]:
    """Run a server until the context ends.

    Args:
        command: The program and its arguments.
        port: Where it listens once it is ready.
        folder: Where it runs; what it says goes to files there.
        variables: Added to its environment.

    Raises:
        RuntimeError: It did not start.
    """
    began = time.perf_counter()
    with (folder / f"{port}.log").open("wb") as log, (folder / f"{port}.out").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the commands are the benchmark's own
            command,
            cwd=folder,
            env={**os.environ, **environment(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, port, folder)
        yield Process(process.pid, time.perf_counter() - began)
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
                break


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.002)
    said = (folder / f"{port}.log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{process.args!r} did not start: {said}")


def _cpu_seconds(pid: int) -> float:
    total = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # a thread that has just ended
                total += int((task / "schedstat").read_text().split()[0])
    return total / _NANOSECONDS
