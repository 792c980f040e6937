"""How commands tell that a call of a running server failed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from smtpconnector_server.cli.terminal import NO, UNREACHABLE, console, escaped, print_json

if TYPE_CHECKING:
    from smtpconnector import SmtpConnectorError


def tell_error(error: SmtpConnectorError, *, as_json: bool) -> int:
    """Tell why a call failed; the exit code tells a missing server from a call that was refused."""
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
    terminal = console()
    terminal.print(f"[red]{_verdict(error)}[/]: {escaped(error.message)}")
    terminal.print(f"[dim]{error.reason or error.code.name}{f' at {error.stage}' if error.stage else ''}[/]")
    hint = _provider_hint(error)
    if hint:
        terminal.print(f"[dim]{escaped(hint)}[/]")
    for violation in error.violations:
        terminal.print(f"  [bold]{escaped(violation.field)}[/]  {escaped(violation.description)}")
    return code


def _verdict(error: SmtpConnectorError) -> str:
    from smtpconnector import Outcome  # noqa: PLC0415 - imports gRPC, which --help need not wait for

    if error.outcome is None:
        return "not done" if error.reason else "no answer"
    return "may or may not have been sent" if error.outcome is Outcome.UNKNOWN else "not sent"


def _provider_hint(error: SmtpConnectorError) -> str:
    """Return what usually helps at this provider."""
    from smtpconnector_server.config.presets import hint_for  # noqa: PLC0415
    from smtpconnector_server.failure import Reason  # noqa: PLC0415

    if not error.host or error.reason not in Reason.__members__:
        return ""
    return hint_for(error.host, Reason[error.reason])
