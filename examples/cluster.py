"""Run two servers on one PostgreSQL, kill one of them in the middle of its work, and show what becomes of its mails.

PostgreSQL is a private one in a temporary folder, or the database that the variable STORE names
(postgresql://USER:PASSWORD@HOST:PORT/DATABASE; its key is then kept in build/cluster.key). Serves until Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP

from smtpconnector import AsyncClient, DeliveryMode, DeliveryState, UsageType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("smtpconnector")
MAILS = 24
SECONDS_A_MAIL = 0.4
CONNECTIONS = 2
"""Of each server: so its mails take a while."""
BEFORE_THE_KILL = 3
"""Mails that the first server sends."""
END_SECONDS = 60


class Inbox:
    """A slow SMTP server that notes by whom each mail was sent."""

    def __init__(self) -> None:
        self.senders: dict[str, list[str]] = {}
        """By recipient."""
        self.arrived = asyncio.Condition()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's
        self,
        server: Any,  # noqa: ANN401, ARG002
        session: Any,  # noqa: ANN401, ARG002
        envelope: Any,  # noqa: ANN401
        address: str,
        rcpt_options: list[str],  # noqa: ARG002
    ) -> str:
        """Take a recipient, after a while."""
        await asyncio.sleep(SECONDS_A_MAIL)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ANN401, ARG002, N802 - aiosmtpd's
        """Take one mail."""
        (recipient,) = envelope.rcpt_tos
        sender = session.host_name.partition(".")[0]
        self.senders.setdefault(recipient, []).append(sender)
        print(f"  {recipient.partition('@')[0]:8} sent by {sender}", flush=True)
        async with self.arrived:
            self.arrived.notify_all()
        return "250 2.0.0 Message accepted"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: SMTP(self, hostname="inbox.example"), "127.0.0.1", 0)
        async with listener:
            yield listener.sockets[0].getsockname()[1]


class Server:
    """One `smtpconnector serve`."""

    def __init__(self, name: str, listen: str, flags: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self.address = listen
        self._flags = flags
        self._environment = environment | {"SERVER_NAME": f"{name}.example"}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            COMMAND,
            *("serve", "--listen", self.address, "--log-level", "error", *self._flags),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._environment},
            start_new_session=True,  # Ctrl-C is for this script, which then stops it
        )
        assert self._process.stdout is not None  # noqa: S101 - because of stdout=PIPE
        ready = (await self._process.stdout.readline()).decode()
        if not ready:
            sys.exit(f"The server {self.name!r} did not start; it says why above.")
        self.address = ready.split()[-1]
        print(f"{self.name:4} serves on {self.address}")

    async def end(self, number: signal.Signals) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a private PostgreSQL and yield the URL of its database."""
    programs = postgres_programs()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory(prefix="smtpconnector-cluster-") as name:
        folder = Path(name)
        account: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        initdb = [
            programs / "initdb",
            "-D",
            folder,
            "-U",
            "mail",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)  # noqa: S603 - our own
        postgres = subprocess.Popen(  # noqa: S603 - our own
            [programs / "postgres", "-D", folder, "-p", str(port), "-k", "", "-c", "log_min_messages=fatal"],
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for this script, which then stops it
            stderr=subprocess.DEVNULL,
            **account,
        )
        try:
            wait = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(wait, check=False).returncode != 0:  # noqa: S603 - our own
                if postgres.poll() is not None:
                    sys.exit("PostgreSQL did not start.")
                time.sleep(0.05)
            print(f"PostgreSQL runs in {folder}")
            yield f"postgresql://mail@127.0.0.1:{port}/postgres"
        finally:
            postgres.send_signal(signal.SIGINT)
            postgres.wait()


def postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs; on Debian, root gets them if they are missing."""
    for is_last in (False, True):
        roots = (Path("/"), ROOT / "build" / "servers")
        found = [
            place for root in roots for place in root.glob("usr/lib/postgresql/*/bin") if (place / "initdb").exists()
        ]
        if found:
            return max(found, key=lambda place: int(place.parent.name))
        if (initdb := shutil.which("initdb")) is not None:
            return Path(initdb).resolve().parent
        if not is_last:
            subprocess.run(["sh", ROOT / "scripts" / "install-postgresql"], check=False)  # noqa: S603, S607 - our own
    sys.exit("There is no PostgreSQL: install it (it need not run), or give STORE=postgresql://USER@HOST/DATABASE.")


@contextmanager
def store() -> Iterator[list[str]]:
    """Yield the flags for the store that the servers share."""
    given = os.environ.get("STORE")
    with TemporaryDirectory(prefix="smtpconnector-cluster-") as folder:
        key = ROOT / "build" / "cluster.key" if given else Path(folder) / "store.key"
        if not key.exists():
            key.parent.mkdir(exist_ok=True)
            key.touch(mode=0o600)
            key.write_bytes(subprocess.run([COMMAND, "store-key"], check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603 - our own
        if given:
            yield ["--store", given, "--store-key", str(key)]
            return
        with running_postgres() as url:
            yield ["--store", url, "--store-key", str(key)]


@contextmanager
def profile() -> Iterator[Path]:
    """Yield a profile by which a server tells its name, and has few connections."""
    document = json.loads((ROOT / "examples" / "demo-profile.json").read_text(encoding="utf-8"))
    document |= {"name": "${SERVER_NAME}", "pool": True, "maxConnections": CONNECTIONS}
    with TemporaryDirectory(prefix="smtpconnector-cluster-") as folder:
        file = Path(folder) / "profile.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        yield file


async def send(servers: list[Server]) -> dict[str, str]:
    """Have the servers accept mails in turn, and return the names of them in the store, by recipient."""
    names: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(server.address)) for server in servers]
        for number in range(MAILS):
            recipient = f"mail-{number:02}@example.com"
            accepted = await clients[number % len(clients)].send_message(
                recipient, UsageType.REGISTER, {"code": f"{number:06}"}, delivery_mode=DeliveryMode.ENQUEUE
            )
            names[recipient] = accepted.delivery_id
    print(f"{MAILS} mails are accepted, {MAILS // len(servers)} by each server:")
    return names


async def show_takeover(one: Server, two: Server, inbox: Inbox) -> None:
    """Kill a server while it sends, and wait for the end of every mail."""
    names = await send([one, two])
    async with inbox.arrived:
        await inbox.arrived.wait_for(lambda: sent_by(inbox, one) >= BEFORE_THE_KILL)
    await asyncio.sleep(SECONDS_A_MAIL / 2)  # in the middle of the next ones
    await one.end(signal.SIGKILL)
    print(
        f"{one.name} is killed. What it had in hand is taken over when its lease of six seconds has ended:", flush=True
    )
    states = Counter[str]()
    async with AsyncClient(two.address) as client, asyncio.timeout(END_SECONDS):
        for name in names.values():
            async for change in client.watch_delivery(name, timeout=END_SECONDS):
                last = change.delivery
            states[last.state.value] += 1
    print("The store says: " + ", ".join(f"{count} {state}" for state, count in states.items()) + ".")
    if states[DeliveryState.UNKNOWN.value]:
        print("UNKNOWN is what may have arrived: its last octet had left when the server died.")
    times = Counter(len(inbox.senders.get(recipient, ())) for recipient in names)
    print(
        f"The inbox says: {times[1]} arrived once, {times[0]} not at all, {times.total() - times[0] - times[1]} twice."
    )


def sent_by(inbox: Inbox, server: Server) -> int:
    """Return how many mails a server has sent."""
    return sum(senders.count(server.name) for senders in inbox.senders.values())


async def run(flags: list[str], listen: list[str], *, is_once: bool) -> None:
    """Run the servers."""
    inbox = Inbox()
    async with inbox.listening() as port:
        servers = [
            Server(name, address, flags, {"INBOX_PORT": str(port)})
            for name, address in zip(("one", "two"), listen, strict=True)
        ]
        try:
            for server in servers:
                await server.start()
            await show_takeover(*servers, inbox)
            if not is_once:
                await servers[0].start()
                print(f"Ctrl-C stops. Try: smtpconnector send --address {servers[0].address} --to ada@example.com")
                await asyncio.Event().wait()
        finally:
            for server in servers:
                await server.end(signal.SIGTERM)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the show, instead of serving until Ctrl-C")
    parser.add_argument(
        "--listen",
        nargs=2,
        metavar="HOST:PORT",
        default=["127.0.0.1:50051", "127.0.0.1:50052"],
        help="where the two serve (%(default)s)",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, and leaves nothing running
    with suppress(KeyboardInterrupt), profile() as file, store() as flags:
        asyncio.run(run([*flags, "--profile", f"default={file}"], arguments.listen, is_once=arguments.once))


if __name__ == "__main__":
    main()
