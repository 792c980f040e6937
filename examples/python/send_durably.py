"""Queue a sign-in code with smtpconnector and watch what becomes of it; all but that is as in send.py."""

from __future__ import annotations

import sys
import time
import uuid
from datetime import timedelta

from send import REFUSED, TRY_LATER, UNCERTAIN, USAGE, explain, read_arguments, tls

from smtpconnector import (
    Client,
    DeadlineExceeded,
    DeliveryMode,
    DeliveryPending,
    DeliveryState,
    SentMessage,
    SmtpConnectorError,
    UsageType,
)

CODE_LIVES = timedelta(minutes=10)
TRIES = 3


def main() -> int:
    """Queue one mail and watch it; return the exit code."""
    arguments = read_arguments()
    # A backend stores this beside what the mail is for, before the first try. Under it there is one mail, however often
    # this program, or the one that is started after its crash, asks for it.
    request_id = str(uuid.uuid4())
    try:
        with Client(arguments.target, tls=tls(arguments), token=arguments.token, timeout=arguments.timeout) as client:
            sent = enqueue(client, arguments.to, arguments.code, request_id)
            print(f"Kept as {sent.delivery_id}: {sent.message_id}")
            return watch(client, sent, arguments.timeout)
    except SmtpConnectorError as error:
        return explain(error)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return USAGE


def enqueue(client: Client, to: str, code: str, request_id: str) -> SentMessage:
    """Have the service take the mail, once."""
    for tries_left in reversed(range(TRIES)):
        try:
            return client.send_message(
                to,
                UsageType.SIGN_IN,
                {"code": code},
                request_id=request_id,
                delivery_mode=DeliveryMode.ENQUEUE,
                expire_in=CODE_LIVES,  # a dead code never leaves
                supersede_key=f"sign-in {to}",  # nor does an older one that still waits
            )
        except DeliveryPending:  # nobody knows whether the service has it: with the request_id, just ask again
            if not tries_left:
                raise
        time.sleep(1)
    raise AssertionError("the last try returns or raises")


def watch(client: Client, sent: SentMessage, timeout: float) -> int:
    """Tell each change until the mail has come to an end; return the exit code.

    The client goes on by itself where a server stops or a connection breaks. A backend may as well end here, and ask
    by ``get_delivery(request_id=...)`` when it wants to know.
    """
    state = sent.state
    try:
        for change in client.watch_delivery(sent.delivery_id, timeout=timeout):
            print(f"{change.time:%H:%M:%S} {change.state} {change.reason}".rstrip())
            state = change.state
    except DeadlineExceeded:
        print("What to do: nothing; the service goes on. Ask again later.", file=sys.stderr)
        return TRY_LATER
    if state is DeliveryState.SENT:
        return 0
    return UNCERTAIN if state is DeliveryState.UNKNOWN else REFUSED


if __name__ == "__main__":
    sys.exit(main())
