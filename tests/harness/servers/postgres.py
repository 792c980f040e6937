"""Starts PostgreSQL, and PgBouncer in front of it, each in one temporary folder, as no privileged user.

Durable as in production (fsync is on), small, and open to everybody on 127.0.0.1. A test may stop it, kill it and start
it again: it keeps its port and its data.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from harness.servers.process import HOST, as_account, free_ports, running, server_folder, unprivileged
from harness.servers.programs import environment, program

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

_USER = "smtpconnector"
_PASSWORD = "not-checked"
_START_SECONDS = 30.0
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
}
_POOLER = """\
[databases]
* = host={host} port={server_port} user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 1000
server_login_retry = 1
"""


class Shutdown(Enum):
    """How PostgreSQL is told to stop."""

    FAST = signal.SIGINT
    """Running transactions are rolled back and clients are told."""
    IMMEDIATE = signal.SIGQUIT
    """As in a crash: what is committed is recovered from the log at the next start."""


class Postgres:
    """A cluster on 127.0.0.1."""

    host = HOST

    def __init__(self, folder: Path, port: int, account: pwd.struct_passwd) -> None:
        self.port = port
        self._folder = folder
        self._account = account
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that all others are children of."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return how to connect to a database, through another port if there is a proxy or pooler."""
        return f"postgresql://{_USER}:{_PASSWORD}@{HOST}:{port or self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as another client would, and return what it says."""
        command = [str(program("psql")), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)]
        return subprocess.run(  # noqa: S603 - the command is the harness's own
            command, env=environment(), check=True, capture_output=True, text=True
        ).stdout.strip()

    def dump(self, database: str) -> str:
        """Return all that a database holds, as a backup has it."""
        command = [str(program("pg_dump")), self.url(database)]
        return subprocess.run(  # noqa: S603 - the command is the harness's own
            command, env=environment(), check=True, capture_output=True, text=True
        ).stdout

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: It does not.
        """
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        self._process = self._running.enter_context(
            running(
                [program("postgres"), "-D", self._folder / "data", f"--port={self.port}", *settings],
                folder=self._folder,
                ports=(self.port,),
                account=self._account,
            )
        )
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up:
            with suppress(subprocess.CalledProcessError):
                self.execute("SELECT 1")
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL does not start. It says: {(self._folder / 'output').read_text()!r}")

    def stop(self, how: Shutdown = Shutdown.FAST) -> None:
        """Stop it."""
        self._signal(how.value)
        self._running.close()

    def restart(self, how: Shutdown = Shutdown.FAST) -> None:
        """Stop it and start it."""
        self.stop(how)
        self.start()

    def kill(self) -> None:
        """End all its processes, as a machine does that loses its power; its disk keeps what was synced."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self._running.close()

    def freeze(self) -> None:
        """Let it do nothing until :meth:`thaw`; its connections stand."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        pid = self._process.pid
        for child in (pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())):
            with suppress(ProcessLookupError):
                os.kill(child, number)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(_START_SECONDS)


def check() -> None:
    """Say whether PostgreSQL can be started.

    Raises:
        MissingServerError: It cannot.
    """
    for name in ("initdb", "postgres", "psql", "pg_dump"):
        program(name)


def check_pooler() -> None:
    """Say whether PgBouncer can be started.

    Raises:
        MissingServerError: It cannot.
    """
    check()
    program("pgbouncer")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run PostgreSQL."""
    account = unprivileged()
    (port,) = free_ports(1)
    with server_folder() as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        subprocess.run(  # noqa: S603 - the command is the harness's own
            [
                *as_account(account),
                program("initdb"),
                *("-D", folder / "data", "-U", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"),
                "--no-sync",  # what is synced is what the tests write
            ],
            cwd=folder,
            env=environment(),
            check=True,
            capture_output=True,
        )
        server = Postgres(folder, port, account)
        server.start()
        try:
            yield server
        finally:
            server.stop(Shutdown.IMMEDIATE)


@contextmanager
def running_pooler(server: Postgres) -> Iterator[int]:
    """Run PgBouncer, which gives each transaction whatever connection is free, and yield its port."""
    account = unprivileged()
    (port,) = free_ports(1)
    with server_folder() as folder:
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(_POOLER.format(host=HOST, port=port, server_port=server.port, user=_USER))
        with running([program("pgbouncer"), configuration], folder=folder, ports=(port,), account=account):
            yield port
