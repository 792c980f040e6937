"""`smtpconnector send`: send one test mail."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smtpconnector_server.cli.connection import add_connection, tls_of, token_of
from smtpconnector_server.cli.terminal import (
    NO,
    OK,
    UNREACHABLE,
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

    from smtpconnector import SentMessage, SmtpConnectorError

_TEST_CODE = "000000"


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "send",
        help="send one test mail",
        description="Send one mail through a running server, or, with --config, straight from here without a server. "
        f"Without --payload the mail carries the code {_TEST_CODE}.",
        epilog="Exit 0: accepted; 1: not accepted, or unknown; 69: no server there. "
        'Example: smtpconnector send --to you@example.com --type SignIn --payload \'{"code": "123456"}\'',
    )
    parser.add_argument("--to", required=True, metavar="ADDR", help="the recipient")
    parser.add_argument("--type", default="Generic", metavar="TYPE", help="the usage type (default: %(default)s)")
    parser.add_argument("--payload", metavar="JSON", help="the values for placeholders, a JSON object")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--profile", metavar="NAME", help="a profile of the running server (default: its `default`)")
    source.add_argument("--config", type=Path, metavar="FILE", help="a configuration file; no running server is needed")
    add_connection(parser)
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send it and tell how it went."""
    from smtpconnector import SmtpConnectorError  # noqa: PLC0415 - imports gRPC, which --help need not wait for

    payload = _payload(arguments.payload)
    try:
        sent = asyncio.run(_send_from_here(arguments, payload) if arguments.config else _send(arguments, payload))
    except SmtpConnectorError as error:
        return _tell_error(error, as_json=arguments.json)
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
    from smtpconnector import AsyncClient  # noqa: PLC0415

    own_server = address is not None
    async with AsyncClient(
        address or arguments.address,
        tls=None if own_server else tls_of(arguments),
        token=None if own_server else token_of(arguments),
    ) as client:
        return await client.send_message(
            arguments.to, arguments.type, payload, config=arguments.profile, timeout=arguments.timeout
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
    if as_json:
        print_json({"outcome": "SENT", **dataclasses.asdict(sent)})
        return OK
    reply = f"{sent.reply.code} {sent.reply.enhanced_code} {sent.reply.text}".replace("  ", " ") if sent.reply else ""
    terminal = console()
    terminal.print(f"[green]accepted[/] by {sent.host}: {escaped(reply)}")
    terminal.print(f"[dim]template {escaped(sent.usage_type)}, message id {escaped(sent.message_id)}[/]")
    return OK


def _tell_error(error: SmtpConnectorError, *, as_json: bool) -> int:
    """Tell why the mail was not accepted; the exit code tells a missing server from a refused mail."""
    code = NO if error.reason else UNREACHABLE
    if as_json:
        print_json(
            {
                "outcome": error.outcome,
                "code": error.code.name,
                "reason": error.reason,
                "message": error.message,
                "stage": error.stage,
                "smtpCode": error.smtp_code,
                "enhancedStatusCode": error.enhanced_code,
                "host": error.host,
                "violations": [dataclasses.asdict(violation) for violation in error.violations],
                "retryAfterSeconds": error.retry_after,
            }
        )
        return code
    from smtpconnector import Outcome  # noqa: PLC0415

    terminal = console()
    outcome = "may or may not have been sent" if error.outcome is Outcome.UNKNOWN else "not sent"
    terminal.print(f"[red]{outcome}[/]: {escaped(error.message)}")
    terminal.print(f"[dim]{error.reason or error.code.name}{f' at {error.stage}' if error.stage else ''}[/]")
    hint = _provider_hint(error)
    if hint:
        terminal.print(f"[dim]{escaped(hint)}[/]")
    for violation in error.violations:
        terminal.print(f"  [bold]{escaped(violation.field)}[/]  {escaped(violation.description)}")
    return code


def _provider_hint(error: SmtpConnectorError) -> str:
    """Return what usually helps at this provider."""
    from smtpconnector_server.config.presets import hint_for  # noqa: PLC0415
    from smtpconnector_server.failure import Reason  # noqa: PLC0415

    if not error.host or error.reason not in Reason.__members__:
        return ""
    return hint_for(error.host, Reason[error.reason])
