"""Start the server with an embedded inbox, send a real mail through a real call and show it as it arrived.

With --serve: serve with the inbox until Ctrl-C and show every mail that arrives.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP

from smtpconnector import AsyncClient, UsageType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROFILE = Path(__file__).with_name("demo-profile.json")
ARRIVAL_SECONDS = 10


class Inbox:
    """An SMTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.mails: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: ANN401, ARG002, N802 - aiosmtpd's
        """Take one mail."""
        self.mails.put_nowait(envelope.original_content)
        return "250 2.0.0 Message accepted"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: SMTP(self, hostname="inbox.example"), "127.0.0.1", 0)
        async with listener:
            yield listener.sockets[0].getsockname()[1]


@asynccontextmanager
async def server(listen: str, inbox_port: int) -> AsyncIterator[str]:
    """Run `smtpconnector serve` and yield its address."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("smtpconnector"),
        *("serve", "--listen", listen, "--profile", f"default={PROFILE}", "--log-level", "warning"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "INBOX_PORT": str(inbox_port)},
    )
    assert process.stdout is not None  # noqa: S101 - because of stdout=PIPE
    try:
        ready = (await process.stdout.readline()).decode()
        if not ready:
            sys.exit("The server did not start; it says why above.")
        print(ready, end="")
        yield ready.split()[-1]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def show(mail: bytes) -> None:
    """Print a mail as it arrived."""
    text = mail.decode("utf-8", errors="replace").replace("\r\n", "\n").rstrip("\n")
    print("\n".join(["", "-" * 72, text, "-" * 72]))


async def demo() -> None:
    """Send one mail and show it."""
    inbox = Inbox()
    async with inbox.listening() as port, server("127.0.0.1:0", port) as address, AsyncClient(address) as client:
        sent = await client.send_message(
            "ada@example.com", UsageType.SIGN_IN, {"code": "246810", "user": {"name": "Ada <Lovelace>"}}
        )
        print(f"accepted by {sent.host}: {sent.reply.code} {sent.reply.text}")
        show(await asyncio.wait_for(inbox.mails.get(), ARRIVAL_SECONDS))


async def serve(listen: str) -> None:
    """Serve and show every mail until interrupted."""
    inbox = Inbox()
    async with inbox.listening() as port, server(listen, port):
        print("Mails to anybody arrive here. Ctrl-C stops. Try: .venv/bin/smtpconnector send --to you@example.com")
        while True:
            show(await inbox.mails.get())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve until Ctrl-C instead of sending one mail")
    parser.add_argument("--listen", default="127.0.0.1:50051", help="where to serve (default: %(default)s)")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.listen) if arguments.serve else demo())


if __name__ == "__main__":
    main()
