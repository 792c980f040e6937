"""`smtpconnector metadata`: tell what the connector is and what its configuration looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.terminal import OK, Subparsers, console, escaped, print_json

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
