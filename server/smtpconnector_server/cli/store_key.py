"""`smtpconnector store-key`: make a key for the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.terminal import OK, Subparsers

if TYPE_CHECKING:
    import argparse


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "store-key",
        help="make a key for the store",
        description="Print a fresh key, a line for the file of `serve --store-key`. What the store holds of mails that "
        "are on their way is encrypted with it; all servers that share a store need the same file. The first key of "
        "the file encrypts, all of them decrypt.",
        epilog="Example: (umask 077; smtpconnector store-key > store.key)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one."""
    from smtpconnector_server.store.keyring import fresh_key  # noqa: PLC0415 - --help need not wait for it

    del arguments
    print(fresh_key())
    return OK
