"""`smtpconnector send`: send one test mail."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.call_error import tell_error
from smtpconnector_server.cli.connection import add_connection, tls_of, token_of
from smtpconnector_server.cli.duration import duration
from smtpconnector_server.cli.terminal import (
    NO,
    OK,
    WRONG_USAGE,
    CommandFailed,
    Subparsers,
    console,
    escaped,
    print_json,
    usable_profile,
)

if TYPE_CHECKING:
    import argparse

    from smtpconnector import SentMessage

_TEST_CODE = "000000"


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "send",
        help="send one test mail",
        description="Send one mail through a running server, or, with --config, straight from here without a server. "
        f"Without --payload the mail carries the code {_TEST_CODE}.",
        epilog="Exit 0: accepted, or with --enqueue, kept; 1: not accepted, or unknown; 69: no server there. "
        'Example: smtpconnector send --to you@example.com --type SignIn --payload \'{"code": "123456"}\'',
    )
    parser.add_argument("--to", required=True, metavar="ADDR", help="the recipient")
    parser.add_argument("--type", default="Generic", metavar="TYPE", help="the usage type (default: %(default)s)")
    parser.add_argument("--payload", metavar="JSON", help="the values for placeholders, a JSON object")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--profile", metavar="NAME", help="a profile of the running server (default: its `default`)")
    source.add_argument("--config", type=Path, metavar="FILE", help="a configuration file; no running server is needed")
    _add_durable(parser)
    add_connection(parser)
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=run)


def _add_durable(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("durable delivery", "Needs a server with a store, but for --expire-in.")
    group.add_argument("--request-id", default="", metavar="TEXT", help="however often it is sent with this: one mail")
    group.add_argument("--enqueue", action="store_true", help="answer when the server has accepted it, and let it send")
    group.add_argument("--expire-in", type=duration, metavar="TIME", help="never send it later, such as 10m")
    group.add_argument("--supersede-key", default="", metavar="TEXT", help="cancel older mails with this key")
    group.add_argument(
        "--resend-uncertain", action="store_true", help="if nobody can know whether it arrived: once more"
    )


def run(arguments: argparse.Namespace) -> int:
    """Send it and tell how it went."""
    from smtpconnector import SmtpConnectorError  # noqa: PLC0415 - imports gRPC, which --help need not wait for

    if arguments.config and (
        arguments.request_id or arguments.enqueue or arguments.supersede_key or arguments.resend_uncertain
    ):
        raise CommandFailed(
            "--config sends without a server, and so without a store: leave one of them out", WRONG_USAGE
        )
    payload = _payload(arguments.payload)
    try:
        sent = asyncio.run(_send_from_here(arguments, payload) if arguments.config else _send(arguments, payload))
    except SmtpConnectorError as error:
        return tell_error(error, as_json=arguments.json)
    return _tell_sent(sent, as_json=arguments.json)


def _payload(text: str | None) -> dict[str, Any]:
    if text is None:
        return {"code": _TEST_CODE}
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"--payload is not JSON: {error}", WRONG_USAGE) from None
    if not isinstance(payload, dict):
        raise CommandFailed('--payload must be a JSON object such as {"code": "123456"}', WRONG_USAGE)
    return payload


async def _send(arguments: argparse.Namespace, payload: dict[str, Any], address: str | None = None) -> SentMessage:
    from smtpconnector import AsyncClient, DeliveryMode, UncertainPolicy  # noqa: PLC0415

    own_server = address is not None
    async with AsyncClient(
        address or arguments.address,
        tls=None if own_server else tls_of(arguments),
        token=None if own_server else token_of(arguments),
    ) as client:
        return await client.send_message(
            arguments.to,
            arguments.type,
            payload,
            config=arguments.profile,
            request_id=arguments.request_id,
            delivery_mode=DeliveryMode.ENQUEUE if arguments.enqueue else DeliveryMode.WAIT,
            expire_in=arguments.expire_in,
            supersede_key=arguments.supersede_key,
            uncertain_policy=UncertainPolicy.RESEND if arguments.resend_uncertain else UncertainPolicy.HOLD,
            timeout=arguments.timeout,
        )


async def _send_from_here(arguments: argparse.Namespace, payload: dict[str, Any]) -> SentMessage:
    """Send by a server of this process's own, so that a test mail goes the way that every mail goes."""
    from smtpconnector_server.app import running_server  # noqa: PLC0415
    from smtpconnector_server.rpc.configurations import DEFAULT_PROFILE  # noqa: PLC0415
    from smtpconnector_server.settings import load_settings  # noqa: PLC0415
    from smtpconnector_server.telemetry.logs import configure_logs  # noqa: PLC0415

    configure_logs("auto", "error")
    settings = load_settings({"listen": "127.0.0.1:0", "grace": 1.0})
    async with running_server(settings, {DEFAULT_PROFILE: usable_profile(arguments.config)}) as server:
        return await _send(arguments, payload, server.address)


def _tell_sent(sent: SentMessage, *, as_json: bool) -> int:
    from smtpconnector import DeliveryState  # noqa: PLC0415

    state = sent.state or DeliveryState.SENT
    code = OK if state is DeliveryState.SENT or not state.is_final else NO  # a repeat is told the end of the first
    if as_json:
        print_json({"outcome": state, **dataclasses.asdict(sent)})
        return code
    terminal = console()
    if state is DeliveryState.SENT:
        reply = sent.reply
        said = f"{reply.code} {reply.enhanced_code} {reply.text}".replace("  ", " ") if reply else ""
        terminal.print(f"[green]accepted[/] by {sent.host}: {escaped(said)}")
    else:
        terminal.print(f"[{'red' if code else 'cyan'}]{state}[/]")
    terminal.print(f"[dim]template {escaped(sent.usage_type)}, message id {escaped(sent.message_id)}[/]")
    if sent.delivery_id:
        terminal.print(f"[dim]what becomes of it: smtpconnector deliveries watch {sent.delivery_id}[/]")
    return code
