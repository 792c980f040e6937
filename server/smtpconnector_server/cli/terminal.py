"""What the commands share: how they end, and how they write for people and for programs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.config.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import Console

    from smtpconnector_server.config.profile import Profile

OK: Final = 0
NO: Final = 1
WRONG_USAGE: Final = 2  # as argparse
UNREACHABLE: Final = 69  # EX_UNAVAILABLE of sysexits.h
CONFIG_WRONG: Final = 78  # EX_CONFIG

Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


class CommandFailed(Exception):  # noqa: N818 - a way to end a command
    """A command cannot go on; the text is for the person who typed it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def console(*, stderr: bool = False) -> Console:
    """Return a console that colours on a terminal and writes plain text elsewhere."""
    from rich.console import Console  # noqa: PLC0415 - costs start-up time that `serve` need not pay

    return Console(highlight=False, soft_wrap=True, stderr=stderr)


def escaped(text: str) -> str:
    """Return text that a console prints as it is, markup-like brackets included."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


def print_findings(findings: Iterable[Finding], terminal: Console) -> None:
    """Write findings for people, a paragraph each."""
    colours = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
    for finding in sorted(findings, key=lambda finding: finding.severity):
        name = f"[{colours[finding.severity]}]{finding.severity.name:7}[/]"
        where = f"[bold]{escaped(finding.field)}[/]: " if finding.field else ""
        terminal.print(f"{name} {where}{escaped(finding.message)}")
        if finding.hint:
            terminal.print(f"        [dim]{escaped(finding.hint)}[/]")


def usable_profile(file: Path) -> Profile:
    """Load a profile for use; refuse one with errors, all of which it writes.

    Raises:
        CommandFailed: It cannot be used.
    """
    from smtpconnector_server.config.profile import load_profile  # noqa: PLC0415

    profile = load_profile(file)
    if profile.checked.connector is None:
        print_findings(profile.checked.findings, console(stderr=True))
        raise CommandFailed(f"{file} cannot be used: mend the errors above", CONFIG_WRONG)
    return profile


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """Write a value as JSON, for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
