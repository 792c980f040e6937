"""The far end: Postfix's smtp-sink, which takes mails, counts them and throws them away."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.process import running

from harness.servers.process import HOST, free_ports, unprivileged
from harness.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BACKLOG = "1024"
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
def running_sink(folder: Path) -> Iterator[Sink]:
    """Run smtp-sink."""
    (port,) = free_ports(1)
    account = unprivileged()
    as_account = ["-u", account.pw_name] if os.geteuid() == 0 else []
    command: list[str | Path] = [program("smtp-sink"), *as_account, "-c", f"{HOST}:{port}", _BACKLOG]
    with running(command, port=port, folder=folder):
        yield Sink(port, folder / f"{port}.out")
