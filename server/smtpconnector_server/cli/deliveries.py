"""`smtpconnector deliveries`: what became of the messages that a running server keeps in its store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.cli.call_error import tell_error
from smtpconnector_server.cli.connection import add_connection, tls_of, token_of
from smtpconnector_server.cli.delivery_page import line_of, page_of, plain, table_of
from smtpconnector_server.cli.duration import duration
from smtpconnector_server.cli.terminal import NO, OK, CommandFailed, Subparsers, console, print_json
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from smtpconnector import Client, Delivery

_SHOWN: Final = 50
_EXIT: Final = "Exit 0: done; 1: refused, or there is no such message; 69: no server there."


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command and those below it."""
    parser = commands.add_parser(
        "deliveries",
        help="tell what became of kept messages, and decide about them",
        description="Ask a running server about the messages in its store. A caller sees his own, an operator all.",
        epilog="Begin with `smtpconnector deliveries list --state UNKNOWN`: what may or may not have arrived.",
    )
    below = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_list(below)
    _add_get(below)
    _add_watch(below)
    _add_cancel(below)
    _add_resolve(below)


def _add_list(commands: Subparsers[Any]) -> None:
    parser = commands.add_parser(
        "list",
        help="list messages, the newest first",
        description="List the messages of the store, the newest first; `deliveries get ID` tells all of one.",
        epilog=f"{_EXIT} Example: smtpconnector deliveries list --state QUEUED --state UNKNOWN --since 1d",
    )
    parser.add_argument(
        "--state",
        action="append",
        choices=[str(state) for state in State],
        metavar="STATE",
        help=f"only this state, once for each: {', '.join(State)}",
    )
    parser.add_argument("--profile", default="", metavar="NAME", help="only messages of this profile")
    parser.add_argument("--since", type=duration, metavar="AGE", help="only messages accepted since, such as 10m or 2h")
    parser.add_argument("--before", type=duration, metavar="AGE", help="only messages that are older, such as 1d")
    parser.add_argument("--limit", type=int, default=_SHOWN, metavar="N", help="at most so many (default: %(default)s)")
    _finish(parser, _list)


def _add_get(commands: Subparsers[Any]) -> None:
    parser = commands.add_parser(
        "get",
        help="tell all that is known of one message",
        description="Tell all that the store knows of one message. It never holds the recipient or the text.",
        epilog=f"{_EXIT} Example: smtpconnector deliveries get --request-id order-4711",
    )
    _add_name(parser)
    _finish(parser, _get)


def _add_watch(commands: Subparsers[Any]) -> None:
    parser = commands.add_parser(
        "watch",
        help="tell every change of one message until its end",
        description="Tell every change of a message's state, those of the past first, until the state is final. With "
        "--json one object a line. It goes on by itself when the server is replaced.",
        epilog="Exit 0: SENT; 1: any other end, or none in time; 69: no server there. "
        "Example: smtpconnector deliveries watch --request-id order-4711 --for 1h",
    )
    _add_name(parser)
    parser.add_argument("--cursor", type=int, default=0, metavar="N", help="only changes after this one")
    parser.add_argument(
        "--for", type=duration, dest="within", default=timedelta(days=1), metavar="TIME", help="(default: 1d)"
    )
    _finish(parser, _watch)


def _add_cancel(commands: Subparsers[Any]) -> None:
    parser = commands.add_parser(
        "cancel",
        help="cancel a message that has not left yet",
        description="Cancel a message that has not left yet. Cancelling it again succeeds again.",
        epilog=f"{_EXIT} Example: smtpconnector deliveries cancel 019aa1c2b3d4e5f60718293a4b5c6d7e",
    )
    _add_name(parser)
    _finish(parser, _cancel)


def _add_resolve(commands: Subparsers[Any]) -> None:
    parser = commands.add_parser(
        "resolve",
        help="decide what becomes of a held message (operators)",
        description="Decide about a message that may or may not have arrived: find out by the provider's log or the "
        "recipient, then send it again, which may make it arrive twice, or drop it. For operators.",
        epilog=f"{_EXIT} Example: smtpconnector deliveries resolve 019aa1c2b3d4e5f60718293a4b5c6d7e --drop",
    )
    parser.add_argument("id", metavar="ID", help="its name in the store")
    decision = parser.add_mutually_exclusive_group(required=True)
    decision.add_argument("--send-again", action="store_true", help="put it back into the queue")
    decision.add_argument("--drop", action="store_true", help="leave it UNKNOWN and destroy its content")
    _finish(parser, _resolve)


def _add_name(parser: argparse.ArgumentParser) -> None:
    name = parser.add_mutually_exclusive_group(required=True)
    name.add_argument("id", nargs="?", default="", metavar="ID", help="its name in the store")
    name.add_argument("--request-id", default="", metavar="TEXT", help="the request_id that you sent it with")


def _finish(parser: argparse.ArgumentParser, run: Callable[[Client, argparse.Namespace], int]) -> None:
    add_connection(parser)
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=lambda arguments: _connected(run, arguments))


def _connected(run: Callable[[Client, argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    from smtpconnector import Client, SmtpConnectorError  # noqa: PLC0415 - imports gRPC, which --help need not wait for

    try:
        with Client(arguments.address, tls=tls_of(arguments), token=token_of(arguments)) as client:
            return run(client, arguments)
    except SmtpConnectorError as error:
        return tell_error(error, as_json=arguments.json)


def _list(client: Client, arguments: argparse.Namespace) -> int:
    from smtpconnector import DeliveryState  # noqa: PLC0415

    now = datetime.now(UTC)
    found = client.list_deliveries(
        states=[DeliveryState(state) for state in arguments.state or ()],
        profile=arguments.profile,
        created_after=now - arguments.since if arguments.since is not None else None,
        created_before=now - arguments.before if arguments.before is not None else None,
    )
    shown = list(islice(found, arguments.limit))
    if arguments.json:
        print_json([plain(delivery) for delivery in shown])
        return OK
    terminal = console()
    terminal.print(table_of(shown) if shown else "no messages")
    if next(found, None) is not None:
        terminal.print(f"[dim]and more: see --limit (now {arguments.limit}), --state, --since[/]")
    return OK


def _get(client: Client, arguments: argparse.Namespace) -> int:
    return _tell(client.get_delivery(arguments.id, request_id=arguments.request_id), arguments)


def _watch(client: Client, arguments: argparse.Namespace) -> int:
    from smtpconnector import DeadlineExceeded, DeliveryState  # noqa: PLC0415

    changes = client.watch_delivery(
        arguments.id,
        request_id=arguments.request_id,
        cursor=arguments.cursor,
        timeout=arguments.within.total_seconds(),
    )
    terminal = console()
    try:
        for change in changes:
            if arguments.json:
                print(json.dumps(plain(change), ensure_ascii=False), flush=True)
            else:
                terminal.print(line_of(change))
    except DeadlineExceeded:
        raise CommandFailed("it has no end yet: watch it --for longer", NO) from None
    # Asked for, because there is no change to tell after the last cursor.
    ended = client.get_delivery(arguments.id, request_id=arguments.request_id)
    return OK if ended.state is DeliveryState.SENT else NO


def _cancel(client: Client, arguments: argparse.Namespace) -> int:
    return _tell(client.cancel_delivery(arguments.id, request_id=arguments.request_id), arguments)


def _resolve(client: Client, arguments: argparse.Namespace) -> int:
    from smtpconnector import Resolution  # noqa: PLC0415

    resolution = Resolution.SEND_AGAIN if arguments.send_again else Resolution.DROP
    return _tell(client.resolve_delivery(arguments.id, resolution), arguments)


def _tell(delivery: Delivery, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print_json(plain(delivery))
    else:
        console().print(page_of(delivery))
    return OK
