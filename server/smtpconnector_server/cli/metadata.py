"""`smtpconnector metadata`: tell what the connector is and what its configuration looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.terminal import OK, Subparsers, print_json

if TYPE_CHECKING:
    import argparse


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "metadata",
        help="tell what the connector is and what its configuration looks like",
        description="Show the connector's metadata, as GetMetadata answers: the keys of the configuration and the known "
        "providers. With --json: all of it, the JSON Schema and an example document included.",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - --help need not wait for it

    from smtpconnector_server.rpc.metadata import to_metadata_response  # noqa: PLC0415

    print_json(MessageToDict(to_metadata_response()))
    return OK
