"""What the commands share: how they end, and how they write for people and for programs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

OK: Final = 0
NO: Final = 1
UNREACHABLE: Final = 69  # EX_UNAVAILABLE of sysexits.h
CONFIG_WRONG: Final = 78  # EX_CONFIG

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"

Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


class CommandFailed(Exception):  # noqa: N818 - a way to end a command
    """A command cannot go on; the text is for the person who typed it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def console() -> Console:
    """Return a console that colours on a terminal and writes plain text elsewhere."""
    from rich.console import Console  # noqa: PLC0415 - costs start-up time that `serve` need not pay

    return Console(highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """Write a value as JSON, for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which server to call."""
    parser.add_argument(
        "--address",
        default=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="the running server to call (default: %(default)s)",
    )
