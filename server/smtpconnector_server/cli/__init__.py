"""The command line: `smtpconnector serve | check-config | send | deliveries | metadata | healthcheck | store-key`.

Exit codes: 0 all is well; 1 the answer is no (invalid configuration, mail not accepted, not healthy); 2 wrong usage;
69 the server cannot be reached; 78 the server's own configuration is wrong.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from smtpconnector_server import __version__
from smtpconnector_server.cli import check_config, deliveries, healthcheck, metadata, send, serve, store_key
from smtpconnector_server.cli.terminal import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="smtpconnector",
        description="Send templated e-mails through any SMTP provider, as a gRPC service.",
        epilog="Begin with `smtpconnector check-config FILE`, then `smtpconnector serve --profile default=FILE`, then "
        "`smtpconnector send --to you@example.com`. Each command explains itself with --help.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (serve, check_config, send, deliveries, metadata, healthcheck, store_key):
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except CommandFailed as failed:
        print(f"smtpconnector: {failed}", file=sys.stderr)
        return failed.exit_code
    except BrokenPipeError:
        # The reader, such as `head`, went away. Point stdout elsewhere, or the interpreter complains once more at exit.
        sys.stdout = None
        return 1
    except KeyboardInterrupt:
        return 130
    return code
