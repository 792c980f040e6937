"""A server as a child process that answers on its ports, and is gone when its context ends or pytest dies."""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.servers.programs import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HOST = "127.0.0.1"
_START_SECONDS = 15.0
_STOP_SECONDS = 5.0
_WATCHED = 'exec 3<&0; ( (cat <&3 >/dev/null; kill 0) & ); exec "$@" </dev/null 3<&-'
"""Runs a command, and ends its process group when standard input does: also when pytest was killed. (The kernel's own
means, the parent-death signal, is lost when a server changes its user.)"""


def unprivileged() -> pwd.struct_passwd:
    """Return the account of a server that needs no rights: this one, or nobody instead of root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def as_account(account: pwd.struct_passwd | None) -> list[str]:
    """Return the beginning of a command that root runs as somebody; None: as itself."""
    if account is None or os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


@contextmanager
def server_folder() -> Iterator[Path]:
    """Make a folder that every account can enter, unlike pytest's own ones; remove it in the end."""
    with TemporaryDirectory(prefix="smtpconnector-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on.

    They lie below those that the kernel chooses (32768 and more), so that no connection takes one meanwhile.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20000, 32768)  # noqa: S311 - no secret
        with suppress(OSError), socket.create_server((HOST, port)):
            ports.append(port)
    return ports


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    folder: Path,
    ports: Sequence[int],
    account: pwd.struct_passwd | None = None,
    variables: Mapping[str, str] = {},
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that stays in the foreground, and yield its process.

    Args:
        command: The program and its arguments.
        folder: Where it runs; the file ``output`` there takes what it says.
        ports: Where it listens once it has started.
        account: Whom root runs it as. None: root.
        variables: Of its environment.

    Raises:
        RuntimeError: It did not start.
    """
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is the harness's own
            ["/bin/sh", "-c", _WATCHED, "sh", *as_account(account), *command],
            cwd=folder,
            env={**environment(), **variables},
            stdin=subprocess.PIPE,  # never written to: it tells when pytest ends
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it is stopped with its children
        )
    try:
        for port in ports:
            _wait_until_connectable(port, process, folder / "output")
        yield process
    finally:
        _stop(process)


def _wait_until_connectable(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=_START_SECONDS):
            return
        time.sleep(0.01)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}. It says: {output.read_text()!r}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_STOP_SECONDS)
            return
