"""Starts Postfix's smtp-sink: a server that goes wrong at a chosen command and keeps what it was sent all the same."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.servers.process import HOST, free_ports, running, server_folder, unprivileged
from harness.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SmtpSink:
    """A running smtp-sink on 127.0.0.1."""

    port: int
    folder: Path

    host = "127.0.0.1"

    def received(self) -> list[str]:
        """Return what has arrived of each mail, whatever was answered to it."""
        return [file.read_text() for file in self.folder.glob("message.*")]


def check() -> None:
    """Say whether smtp-sink can be started.

    Raises:
        MissingServerError: It cannot.
    """
    program("smtp-sink")


@contextmanager
def running_smtp_sink(*flags: str) -> Iterator[SmtpSink]:
    """Run smtp-sink.

    Args:
        flags: Of its command line, such as ``-q``, ``DATA``.
    """
    account = unprivileged()
    (port,) = free_ports(1)
    with server_folder() as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        command: list[str | Path] = [program("smtp-sink"), *flags, "-d", "message.", f"{HOST}:{port}", "64"]
        with running(command, folder=folder, ports=(port,), account=account):
            yield SmtpSink(port, folder)
