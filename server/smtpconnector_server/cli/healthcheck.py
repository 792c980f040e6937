"""`smtpconnector healthcheck`: ask a running server whether it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.connection import add_connection, tls_of
from smtpconnector_server.cli.terminal import NO, OK, UNREACHABLE, CommandFailed, Subparsers

if TYPE_CHECKING:
    import argparse

    import grpc


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "healthcheck",
        help="ask a running server whether it serves",
        description="Call grpc.health.v1.Health/Check. Exit 0: serving; 1: not serving; 69: no answer. For containers.",
    )
    add_connection(parser, asks_who_calls=False)
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="(default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask once."""
    import grpc  # noqa: PLC0415 - --help need not wait for it
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    with _channel(arguments) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # the type stub knows no methods
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=arguments.timeout)
        except grpc.RpcError as error:
            raise CommandFailed(f"no answer from {arguments.address}: {error.code().name}", UNREACHABLE) from None
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    print(status)
    return OK if answer.status == health_pb2.HealthCheckResponse.SERVING else NO


def _channel(arguments: argparse.Namespace) -> grpc.Channel:
    import grpc  # noqa: PLC0415

    tls = tls_of(arguments)
    if tls is None:
        return grpc.insecure_channel(arguments.address)
    credentials = grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
    options = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.secure_channel(arguments.address, credentials, options)
