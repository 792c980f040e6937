"""The example that queues: run as it stands, against the real service with a store."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.documents import document_for
from harness.fault import Fault, State, close, reply_with, stall
from harness.inbox import Inbox
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.fault import Action

PROGRAM = Path(__file__).parents[3] / "examples" / "python" / "send_durably.py"


@asynccontextmanager
async def durable(server: Inbox | SmtpServer, folder: Path) -> AsyncIterator[str]:
    document = {**document_for(server), "port": server.port}
    store = str(folder / "store.db")
    async with running_service({"default": document}, folder, store=store, grace=0.1) as service:
        yield service.address


async def send(address: str, *flags: str) -> tuple[int | None, list[str], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        PROGRAM,
        *("--target", address, "--to", "ada@example.com", "--code", "246810", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, output.decode().splitlines(), errors.decode()


async def test_a_code_is_queued_and_watched_to_its_end(tmp_path: Path) -> None:
    async with Inbox() as inbox, durable(inbox, tmp_path) as address:
        code, lines, errors = await send(address)
    assert (code, errors) == (0, "")
    (mail,) = inbox.mails
    assert lines[0].endswith(f": {mail.message['Message-ID']}")
    assert lines[-1].endswith(" SENT")


@pytest.mark.parametrize(
    ("state", "action", "exit_code", "end"),
    [
        (State.RCPT, reply_with(b"550 5.1.1 No such user\r\n"), 1, "REJECTED SMTP_RECIPIENT_REJECTED"),
        (State.ACCEPTED, close, 3, "UNKNOWN DELIVERY_UNCERTAIN"),
        (State.MAIL, stall, 4, "SENDING"),
    ],
)
async def test_every_other_end_has_its_exit_code(
    state: State, action: Action, exit_code: int, end: str, tmp_path: Path
) -> None:
    async with SmtpServer(Fault(state, action)) as server, durable(server, tmp_path) as address:
        code, lines, _ = await send(address, "--timeout", "3")
    assert (code, lines[-1].partition(" ")[2]) == (exit_code, end)


async def test_a_service_without_a_store_says_what_its_operator_can_do(tmp_path: Path) -> None:
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        code, _, errors = await send(service.address)
    assert code == 1
    assert "--store" in errors
    assert "ask whoever runs the service" in errors
