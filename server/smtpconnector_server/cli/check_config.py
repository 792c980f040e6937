"""`smtpconnector check-config`: tell everything that is wrong with a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.terminal import NO, OK, Subparsers, console, escaped, print_findings, print_json

if TYPE_CHECKING:
    import argparse

    from smtpconnector_server.config.checked import Checked


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check-config",
        help="tell everything that is wrong with a configuration file",
        description="Read a configuration as `serve --profile` would and tell every finding: what is wrong, where, and "
        "what to change. Connects to nothing.",
        epilog="Exit 0: it can be used (warnings are fine); 1: it cannot. "
        "Example: smtpconnector check-config gmail.json",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the JSON document of Logto's SMTP connector")
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check it and tell."""
    from smtpconnector_server.config.profile import load_profile  # noqa: PLC0415 - --help need not wait for it

    checked = load_profile(arguments.file).checked
    if arguments.json:
        _print_as_json(checked)
    else:
        _print_for_people(checked, arguments.file)
    return OK if checked.connector is not None else NO


def _print_as_json(checked: Checked) -> None:
    print_json(
        {
            "valid": checked.connector is not None,
            "findings": [
                {
                    "severity": finding.severity.name,
                    "field": finding.field,
                    "reason": finding.reason,
                    "message": finding.message,
                    "hint": finding.hint,
                }
                for finding in checked.findings
            ],
        }
    )


def _print_for_people(checked: Checked, file: Path) -> None:
    terminal = console()
    print_findings(checked.findings, terminal)
    if checked.connector is None:
        terminal.print(f"[red]{escaped(str(file))} cannot be used[/]")
        return
    server = checked.connector.server
    terminal.print(
        f"[green]{escaped(str(file))} can be used[/]: {escaped(server.host)}:{server.port}, {server.tls_mode.value}"
    )
