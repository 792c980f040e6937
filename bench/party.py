"""Who is measured: our service, its limits, and what people would use in its place."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from bench import load
from bench.process import Process, running
from harness.certificates import ca_pem
from harness.servers.mail_server import CREDENTIALS
from harness.servers.process import HOST, free_ports
from harness.servers.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
CONNECTIONS = 16
"""That every pool may have."""
_MAX_MESSAGES = 10_000
TEXT = {
    "usageType": "SignIn",
    "contentType": "text/plain",
    "subject": "Your sign-in code",
    "content": "Your code is {{code}}. It is valid for 10 minutes.\n",
}
_REQUIRED = ("SignIn", "Register", "ForgotPassword", "Generic")
TEXT_FRAME = load.frame("SignIn", {"code": "246810"})
SMTP_SOURCE_OCTETS = 400
"""Of a message of smtp-source: as large as ours."""


def profile(port: int, *templates: dict[str, str], connections: int = CONNECTIONS, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the configuration, in Logto's form, that every party gets: an SMTP server without TLS and log-in."""
    return {
        "host": HOST,
        "port": port,
        "auth": {},
        "ignoreTLS": True,
        "pool": True,
        "maxConnections": connections,
        "maxMessages": _MAX_MESSAGES,
        "fromEmail": "Example <sender@example.com>",
        "templates": [*templates, *({**TEXT, "usageType": usage_type} for usage_type in _REQUIRED)],
        **options,
    }


def submission_profile(port: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return the configuration for an SMTP server with STARTTLS and log-in."""
    auth = {"user": CREDENTIALS.user, "pass": CREDENTIALS.password}
    return profile(port, auth=auth, ignoreTLS=False, requireTLS=True, tls={"ca": ca_pem()}, **options)


class Sending(Protocol):
    """A party at work."""

    def send(self, count: int, in_flight: int, frame: bytes = TEXT_FRAME) -> load.Run:
        """Send mails and wait for their answers."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A gRPC service at work."""

    port: int
    process: Process

    def send(self, count: int, in_flight: int, frame: bytes = TEXT_FRAME) -> load.Run:
        """Send mails and wait for their answers."""
        return load.post(self.port, frame, count=count, in_flight=in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A party that is a gRPC service."""

    name: str
    title: str
    command: Sequence[str | Path]
    """``{port}`` and ``{profile}`` are filled in."""
    options: dict[str, Any] = field(default_factory=dict)
    """Added to its profile."""
    reaches_smtp: bool = True

    @contextmanager
    def at_work(self, profile: dict[str, Any], folder: Path) -> Iterator[Serving]:
        """Start, send inside the context, end with it."""
        (port,) = free_ports(1)
        file = _write(profile | self.options, folder)
        command = [str(part).format(port=port, profile=file) for part in self.command]
        with running(command, port=port, folder=folder) as process:
            yield Serving(port, process)


@dataclass(frozen=True, slots=True)
class Direct:
    """A program at work that sends by itself."""

    command: tuple[str | Path, ...]
    profile: dict[str, Any]
    file: Path

    def send(self, count: int, in_flight: int, frame: bytes = TEXT_FRAME) -> load.Run:
        """Send mails and wait for their answers."""
        del frame  # it knows what to send
        values = {"count": count, "in_flight": in_flight, "profile": self.file, "port": self.profile["port"]}
        return load.command([str(part).format_map(values) for part in self.command], count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A party without a service: started anew for each load."""

    name: str
    title: str
    command: Sequence[str | Path]
    """``{count}``, ``{in_flight}``, ``{profile}`` and ``{port}`` are filled in."""
    reaches_smtp: bool = True

    @contextmanager
    def at_work(self, profile: dict[str, Any], folder: Path) -> Iterator[Direct]:
        """Send inside the context."""
        yield Direct(tuple(self.command), profile, _write(profile, folder))


Party: TypeAlias = Service | Program


def _write(profile: dict[str, Any], folder: Path) -> Path:
    file = folder / f"profile-{len(list(folder.glob('profile-*')))}.json"
    file.write_text(json.dumps(profile), encoding="utf-8")
    return file


def ours(*flags: str) -> list[str]:
    """Return the command of our service, with every feature on."""
    command = [str(Path(sys.executable).parent / "smtpconnector"), "serve", "--listen", "127.0.0.1:{port}"]
    command += ["--profile", "default={profile}", "--log-format", "json", "--metrics-listen", "127.0.0.1:0"]
    return [*command, *flags]


def _node(way: str, library: str) -> list[str | Path]:
    return ["node", PEERS / "service.js", "{port}", ROOT / "protos", "{profile}", way, library]


OURS = Service(name="ours", title="smtpconnector", command=ours())
OURS_TWO = Service(name="ours-2", title="smtpconnector, two workers", command=ours("--workers", "2"))
OURS_FLIGHT = Service(
    name="ours-flight", title="smtpconnector, singleFlight", command=ours(), options={"singleFlight": True}
)
OURS_KEPT = Service(
    name="ours-kept", title="smtpconnector with a store, not used", command=ours("--store", "{profile}.db")
)
ECHO = Service(
    name="echo",
    title="the limit of gRPC: grpc.aio, empty answer",
    command=[sys.executable, PEERS / "echo.py", "{port}"],
    reaches_smtp=False,
)
BARE = Service(
    name="bare",
    title="the limit of Python: grpc.aio, one fixed mail",
    command=[sys.executable, PEERS / "bare.py", "{port}", "{profile}"],
)
NODE_POOL = Service(name="node-pool", title="grpc-js + nodemailer 10.6 pool", command=_node("pool", "nodemailer"))
LOGTO = Service(
    name="logto",
    title="grpc-js + Logto's way, nodemailer 9.0.5",
    command=_node("transport-per-mail", "nodemailer-logto"),
)
LOGTO_NEWEST = Service(
    name="logto-newest",
    title="grpc-js + Logto's way, nodemailer 10.6",
    command=_node("transport-per-mail", "nodemailer"),
)
AIOSMTPLIB = Program(
    name="aiosmtplib",
    title="aiosmtplib.send, without a service",
    command=[sys.executable, PEERS / "direct.py", "{profile}", "{count}", "{in_flight}"],
)


def smtp_source() -> Program:
    """Return the limit of SMTP: a C program that does nothing else."""
    command: list[str | Path] = [
        program("smtp-source"),
        "-d",
        "-s",
        "{in_flight}",
        "-m",
        "{count}",
        "-l",
        str(SMTP_SOURCE_OCTETS),
    ]
    return Program(
        name="smtp-source",
        title="the limit of SMTP: Postfix's smtp-source",
        command=[*command, "-t", load.RECIPIENT, f"{HOST}:{{port}}"],
    )
