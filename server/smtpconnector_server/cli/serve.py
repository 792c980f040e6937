"""`smtpconnector serve`: run the service."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smtpconnector_server import __version__
from smtpconnector_server.cli.terminal import CONFIG_WRONG, OK, CommandFailed, Subparsers, usable_profile
from smtpconnector_server.supervisor import WORKER_VARIABLE, Supervisor, worker_command

if TYPE_CHECKING:
    import argparse

    from smtpconnector_server.settings import Settings


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "serve",
        help="run the service",
        description="Serve ConnectorService, health and reflection until SIGTERM or Ctrl-C. Prints one line with the "
        "real address once calls are answered.",
        epilog="Every option has an environment variable (--log-level is SMTPCONNECTOR_LOG_LEVEL) and a key in the "
        "settings file. Flags win over the environment, the environment over the file. Callers that name no "
        "configuration get the profile `default`. Example: smtpconnector serve --profile default=gmail.json",
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where to serve; port 0 takes a free one (127.0.0.1:50051)"
    )
    parser.add_argument(
        "--profile",
        metavar="NAME=FILE",
        action="append",
        help="a configuration that callers may name; FILE is the JSON document of Logto's SMTP connector, where "
        'secrets may be ${ENV_VAR} or {"file": "path"}; repeatable',
    )
    parser.add_argument(
        "--allow-target",
        metavar="HOST|CIDR[:PORT]",
        action="append",
        help="a target that configurations which callers bring may connect to although it is not public; repeatable",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate chain (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM, not encrypted)")
    parser.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="ask callers for a certificate of this CA")
    parser.add_argument("--auth-tokens", type=Path, metavar="FILE", help="who may call, by token or certificate (TOML)")
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="allow to serve other machines without TLS or without authentication",
    )
    parser.add_argument("--max-calls", type=int, metavar="N", help="calls at once, in each worker (2000)")
    parser.add_argument("--max-calls-per-caller", type=int, metavar="N", help="calls at once of one caller (2000)")
    for what, whom in (
        ("recipient", "one recipient may get"),
        ("client-ip", "one end user may cause, by client_ip"),
        ("profile", "each profile may send"),
    ):
        parser.add_argument(
            f"--limit-{what}",
            metavar="RATES",
            help=f"mails that {whom}, such as '5/10minute, 20/day': from all servers on one --store together, without a"
            " store from each worker (no limit)",
        )
    parser.add_argument(
        "--store",
        metavar="PATH|URL",
        help="where to keep messages that must survive this process, for request_id and DELIVERY_MODE_ENQUEUE: an "
        "SQLite file, or postgresql://... for several servers (memory: nowhere, and then these are refused)",
    )
    parser.add_argument(
        "--store-key",
        metavar="FILE",
        help="the keys that encrypt what the store holds, see `smtpconnector store-key` (PATH.key beside an SQLite "
        "file, made if it is missing)",
    )
    parser.add_argument(
        "--store-retention",
        metavar="DURATION",
        help="how long the end of a message, and so its request_id, is remembered, such as 12h (7d)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that share the port (1)")
    parser.add_argument(
        "--metrics-listen", metavar="HOST:PORT", help="where to serve metrics for Prometheus; port 0 takes a free one"
    )
    parser.add_argument("--grace", type=float, metavar="SECONDS", help="time for calls in flight after SIGTERM (30)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="a settings file (TOML)")
    parser.add_argument(
        "--log-format", choices=("auto", "json", "text"), help="auto is text on a terminal, else json (auto)"
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="the least severe (info)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from smtpconnector_server import app  # noqa: PLC0415 - imports gRPC, which --help need not wait for
    from smtpconnector_server.rpc.callers import CallersError  # noqa: PLC0415
    from smtpconnector_server.rpc.certificates import CertificateError  # noqa: PLC0415
    from smtpconnector_server.store.location import LocationError  # noqa: PLC0415
    from smtpconnector_server.store.store import StoreError  # noqa: PLC0415
    from smtpconnector_server.telemetry.logs import configure_logs  # noqa: PLC0415

    settings = _settings(arguments)
    configure_logs(settings.log_format, settings.log_level)
    profiles = {name: usable_profile(file) for name, file in settings.profile.items()}
    shared = os.environ.get(WORKER_VARIABLE)
    try:
        if settings.workers > 1 and shared is None:
            return asyncio.run(_supervise(settings))
        app.run(app.serve(settings, profiles, shared_address=shared, on_ready=_announce))
    except (OSError, CallersError, CertificateError, LocationError, StoreError) as error:
        raise CommandFailed(str(error), CONFIG_WRONG) from None
    return OK


async def _supervise(settings: Settings) -> int:
    if settings.metrics_listen is None:
        return await Supervisor(worker_command(), settings.workers, settings.listen).run(_announce)
    from smtpconnector_server.telemetry.shared import SharedMetrics  # noqa: PLC0415 - only where metrics are on

    metrics = SharedMetrics(settings.metrics_listen)
    try:
        return await Supervisor(worker_command(), settings.workers, settings.listen, metrics).run(_announce)
    finally:
        metrics.close()


def _settings(arguments: argparse.Namespace) -> Settings:
    from smtpconnector_server.settings import SettingsError, load_settings  # noqa: PLC0415

    flags = {name: value for name, value in vars(arguments).items() if name not in {"run", "settings"}}
    try:
        return load_settings(flags, arguments.settings)
    except SettingsError as error:
        raise CommandFailed(str(error), CONFIG_WRONG) from None


def _announce(address: str) -> None:
    print(f"smtpconnector {__version__} serves on {address}", flush=True)
