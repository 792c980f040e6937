"""`smtpconnector metadata`: tell what the connector is and what its configuration looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.terminal import OK, Subparsers, console, escaped, print_json

if TYPE_CHECKING:
    import argparse

    from rich.console import Console


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "metadata",
        help="tell what the connector is and what its configuration looks like",
        description="Show the keys of the configuration and the providers that the connector knows. With --json: all "
        "that GetMetadata answers, the JSON Schema and an example document included.",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    if arguments.json:
        from google.protobuf.json_format import MessageToDict  # noqa: PLC0415 - --help need not wait for it

        from smtpconnector_server.rpc.metadata import to_metadata_response  # noqa: PLC0415

        print_json(MessageToDict(to_metadata_response()))
        return OK
    terminal = console()
    _print_keys(terminal)
    _print_providers(terminal)
    return OK


def _print_keys(terminal: Console) -> None:
    from rich.table import Table  # noqa: PLC0415

    from smtpconnector_server.config.form import form_items  # noqa: PLC0415

    table = Table("key", "kind", "", "what it is", title="configuration", title_justify="left", box=None)
    for item in form_items():
        table.add_row(item.key, item.type.value, "required" if item.required else "", escaped(item.description))
    terminal.print(table)


def _print_providers(terminal: Console) -> None:
    from rich.table import Table  # noqa: PLC0415

    from smtpconnector_server.config.presets import presets  # noqa: PLC0415

    table = Table("service", "host", "port", "TLS", "provider", title="\nproviders", title_justify="left", box=None)
    for preset in presets():
        table.add_row(preset.id, preset.host, str(preset.port), preset.tls_mode.value, preset.display_name)
    terminal.print(table)
