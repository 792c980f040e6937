"""`smtpconnector check-config`: tell everything that is wrong with a configuration file, and try it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.cli.terminal import (
    NO,
    OK,
    WRONG_USAGE,
    CommandFailed,
    Subparsers,
    console,
    escaped,
    print_findings,
    print_json,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from smtpconnector_server.config.checked import Checked
    from smtpconnector_server.delivery.check import Verdict
    from smtpconnector_server.message.address import Address
    from smtpconnector_server.smtp.course import Depth, ProbeStep

_DEPTHS: Final = ("schema", "resolve", "connect", "authenticate", "envelope")
_SECONDS: Final = 30.0


def add_parser(commands: Subparsers[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check-config",
        help="tell everything that is wrong with a configuration file, and try it",
        description="Read a configuration as `serve --profile` would and tell every finding: what is wrong, where, and "
        "what to change. With --depth, try it from this machine, on a connection of its own. No mail is ever sent.",
        epilog="Exit 0: it can be used (warnings are fine); 1: it cannot. "
        "Example: smtpconnector check-config gmail.json --depth authenticate",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the JSON document of Logto's SMTP connector")
    parser.add_argument(
        "--depth",
        choices=_DEPTHS,
        default=_DEPTHS[0],
        help="schema connects to nothing; resolve looks up the host; connect goes up to EHLO, TLS included; "
        "authenticate logs in, once; envelope names sender and recipient and takes both back (default: %(default)s)",
    )
    parser.add_argument("--to", metavar="ADDR", help="the recipient to ask the server about; with --depth envelope")
    parser.add_argument(
        "--timeout", type=float, default=_SECONDS, metavar="SECONDS", help="for the whole look (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check it and tell."""
    from smtpconnector_server.config.profile import load_profile  # noqa: PLC0415 - --help need not wait for these
    from smtpconnector_server.smtp.course import Depth  # noqa: PLC0415

    depth = Depth[arguments.depth.upper()]
    recipient = _recipient(arguments.to, depth)
    if not arguments.timeout > 0:
        raise CommandFailed("--timeout must be more than 0 seconds", WRONG_USAGE)
    began = time.monotonic()
    checked = load_profile(arguments.file).checked
    seconds_read = time.monotonic() - began

    def look(on_step: Callable[[ProbeStep], None] = lambda _step: None) -> Verdict:
        return asyncio.run(
            _check(
                checked,
                depth,
                recipient=recipient,
                seconds_read=seconds_read,
                within=arguments.timeout,
                on_step=on_step,
            )
        )

    if arguments.json:
        verdict = look()
        _print_as_json(verdict)
    else:
        verdict = _show(look, checked, depth, arguments.file)
    return OK if verdict.is_valid else NO


def _recipient(text: str | None, depth: Depth) -> Address | None:
    from smtpconnector_server.message.address import AddressError, parse_address  # noqa: PLC0415
    from smtpconnector_server.smtp.course import Depth  # noqa: PLC0415

    if (text is not None) != (depth is Depth.ENVELOPE):
        raise CommandFailed("--to goes with --depth envelope, and --depth envelope needs it", WRONG_USAGE)
    try:
        return parse_address(text) if text is not None else None
    except AddressError as error:
        raise CommandFailed(f"--to {error}", WRONG_USAGE) from None


async def _check(
    checked: Checked,
    depth: Depth,
    *,
    recipient: Address | None,
    seconds_read: float,
    within: float,
    on_step: Callable[[ProbeStep], None],
) -> Verdict:
    """Check from here, as the operator: what his file says may go anywhere, and he may see everything."""
    from smtpconnector_server.delivery.check import check  # noqa: PLC0415
    from smtpconnector_server.smtp.dialer import AllowAll, Dialer  # noqa: PLC0415
    from smtpconnector_server.smtp.oauth2 import TokenCache  # noqa: PLC0415
    from smtpconnector_server.smtp.opening import Opener  # noqa: PLC0415
    from smtpconnector_server.smtp.probe import Probe  # noqa: PLC0415
    from smtpconnector_server.smtp.resolver import Resolver  # noqa: PLC0415
    from smtpconnector_server.smtp.token_endpoint import TokenEndpoint  # noqa: PLC0415

    resolver = Resolver()
    tokens = TokenCache(
        TokenEndpoint(resolver=resolver, policy=AllowAll()),
        on_rotation=lambda _rotated: console(stderr=True).print(
            "[yellow]The token end point replaced the refresh token[/]: the one in the file may not work any more. "
            "Have the user consent anew, and let only the server use what comes of it."
        ),
    )
    try:
        return await check(
            checked,
            depth,
            probe=Probe(Opener(Dialer(resolver=resolver), tokens=tokens)),
            seconds_read=seconds_read,
            within=within,
            recipient=recipient,
            on_step=on_step,
        )
    finally:
        await tokens.aclose()


def _show(
    look: Callable[[Callable[[ProbeStep], None]], Verdict], checked: Checked, depth: Depth, file: Path
) -> Verdict:
    """Look while the steps are shown, then tell what was found."""
    from smtpconnector_server.cli.step_tree import StepTree  # noqa: PLC0415
    from smtpconnector_server.failure import Stage  # noqa: PLC0415
    from smtpconnector_server.smtp.course import Depth, plan  # noqa: PLC0415

    terminal = console()
    name = escaped(str(file))
    where = ""
    if checked.connector is not None:
        server = checked.connector.server
        where = f": {server.host}:{server.port}, {server.tls_mode.value}"
    if depth is Depth.SCHEMA or checked.connector is None:
        verdict = look(lambda _step: None)
    else:
        with StepTree(f"{file}{where}", (Stage.CONFIG, *plan(checked.connector.server, depth)), terminal) as tree:
            verdict = look(tree.add)
    print_findings(verdict.findings, terminal)
    if verdict.is_valid:
        terminal.print(f"[green]{name} can be used[/]{escaped(where)}")
    else:
        terminal.print(f"[red]{name} cannot be used[/]{escaped(where)}")
    return verdict


def _print_as_json(verdict: Verdict) -> None:
    offered = verdict.report.capabilities if verdict.report is not None else None
    level = verdict.report.level if verdict.report is not None else None
    print_json(
        {
            "valid": verdict.is_valid,
            "findings": [
                {
                    "severity": finding.severity.name,
                    "field": finding.field,
                    "reason": finding.reason,
                    "message": finding.message,
                    "hint": finding.hint,
                }
                for finding in verdict.findings
            ],
            "steps": [
                {"stage": step.name, "status": step.status.name, "seconds": step.seconds, "detail": step.detail}
                for step in verdict.steps
            ],
            "capabilities": None
            if offered is None
            else {
                "extensions": offered.extensions,
                "authMechanisms": offered.auth_mechanisms,
                "maxMessageSize": offered.max_message_size or None,
                "tlsVersion": offered.tls_version,
                "level": level.name if level is not None else "",
            },
        }
    )
