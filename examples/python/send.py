"""Send a sign-in code through smtpconnector and say what to do when that fails."""

from __future__ import annotations

import argparse
import sys
from math import ceil
from pathlib import Path

from smtpconnector import (
    Client,
    DeadlineExceeded,
    DeliveryUncertain,
    InvalidRequest,
    MessageRejected,
    RecipientRejected,
    SentMessage,
    SmtpConnectorError,
    Tls,
    Unauthenticated,
    UsageType,
)

REFUSED = 1  # not sent, and the same request fails again
USAGE = 2
UNCERTAIN = 3  # perhaps sent
TRY_LATER = 4  # not sent


def main() -> int:
    """Send one mail; return the exit code."""
    arguments = read_arguments()
    try:
        # A backend makes one client when it starts and keeps it; threads may share it. Without `tls` the client speaks
        # in the clear to this machine and by TLS, with the usual authorities, to every other.
        with Client(arguments.target, tls=tls(arguments), token=arguments.token, timeout=arguments.timeout) as client:
            sent = client.send_message(arguments.to, UsageType.SIGN_IN, {"code": arguments.code})
    except SmtpConnectorError as error:
        return explain(error)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return USAGE
    return confirm(sent)


def read_arguments() -> argparse.Namespace:
    """Read the command line; exit with code 2 where it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, metavar="HOST:PORT", help="the service")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="the authority (PEM) that vouches for the service")
    parser.add_argument("--token", help="what the service knows this caller by")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for the call, retries included")
    parser.add_argument("--to", required=True, metavar="ADDR", help="the recipient")
    parser.add_argument("--code", required=True, help="the code to send")
    return parser.parse_args()


def tls(arguments: argparse.Namespace) -> Tls | None:
    """Trust the authority that was named, if any."""
    return Tls(root_certificates=arguments.tls_ca.read_bytes()) if arguments.tls_ca else None


def confirm(sent: SentMessage) -> int:
    """Say that the mail was accepted; return the exit code."""
    print(f"Accepted by {sent.host}: {sent.reply.code} {sent.reply.text}" if sent.reply else "Valid")
    print(f"Message-ID: {sent.message_id}")
    return 0


def explain(error: SmtpConnectorError) -> int:
    """Say what happened to the mail and what a person should do; return the exit code.

    The client has already tried again where that was right.
    """
    verdict, exit_code = "Not sent", REFUSED
    if isinstance(error, DeliveryUncertain):
        verdict, exit_code = "Perhaps sent", UNCERTAIN
        todo = "ask the recipient whether it came before you send again; a second try may send it twice."
    elif isinstance(error, DeadlineExceeded):
        exit_code = TRY_LATER
        todo = "try again, with a longer --timeout."
    elif error.may_retry and not error.reason:
        exit_code = TRY_LATER
        todo = "check --target and --tls-ca, and that the service runs; then try again."
    elif error.may_retry:
        exit_code = TRY_LATER
        todo = f"try again in {ceil(error.retry_after)} s." if error.retry_after else "try again soon."
    elif isinstance(error, Unauthenticated):
        todo = "give a valid --token; whoever runs the service can tell you one."
    elif isinstance(error, (InvalidRequest, RecipientRejected, MessageRejected)):
        todo = "correct the request; the same one fails again."
    else:
        todo = "ask whoever runs the service to mend it; the same request fails again until then."
    print(f"{verdict}: {error.message} [{error.reason or error.code.name}]", file=sys.stderr)
    for violation in error.violations:
        if violation.description not in error.message:
            print(f"  {violation.field}: {violation.description}", file=sys.stderr)
    print(f"What to do: {todo}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
