"""Send a sign-in code through smtpconnector from asyncio; all but the waiting is as in send.py."""

from __future__ import annotations

import asyncio
import sys

from send import USAGE, confirm, explain, read_arguments, tls

from smtpconnector import AsyncClient, SmtpConnectorError, UsageType


async def main() -> int:
    """Send one mail; return the exit code."""
    arguments = read_arguments()
    try:
        # One client for each event loop; tasks may share it.
        async with AsyncClient(
            arguments.target, tls=tls(arguments), token=arguments.token, timeout=arguments.timeout
        ) as client:
            sent = await client.send_message(arguments.to, UsageType.SIGN_IN, {"code": arguments.code})
    except SmtpConnectorError as error:
        return explain(error)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return USAGE
    return confirm(sent)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
