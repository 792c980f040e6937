"""`smtpconnector send --enqueue` and `smtpconnector deliveries` as an operator runs them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.documents import document_for
from harness.fault import Fault, State, close, stall
from harness.inbox import Inbox
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND = Path(sys.executable).with_name("smtpconnector")


@asynccontextmanager
async def durable(server: Inbox | SmtpServer, folder: Path) -> AsyncIterator[str]:
    document = {**document_for(server), "port": server.port}
    store = str(folder / "store.db")
    async with running_service({"default": document}, folder, store=store, grace=0.1) as service:
        yield service.address


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", "TZ": "UTC"},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, output.decode(), errors.decode()


async def send(address: str, *flags: str) -> tuple[int, Any]:
    code, output, errors = await run("send", "--to", "ada@example.com", "--address", address, "--json", *flags)
    assert not errors
    return code, json.loads(output)


async def test_a_mail_is_enqueued_watched_and_found_again(tmp_path: Path) -> None:
    async with Inbox() as inbox, durable(inbox, tmp_path) as address:
        code, sent = await send(address, "--enqueue", "--request-id", "order-1", "--expire-in", "10m")
        assert (code, sent["outcome"] in {"QUEUED", "SENDING", "SENT"}) == (0, True)
        here = ("--address", address)
        code, output, _ = await run("deliveries", "watch", "--request-id", "order-1", *here)
        assert code == 0
        assert output.splitlines()[-1].endswith("SENT")
        code, output, _ = await run("deliveries", "watch", sent["delivery_id"], "--json", *here)
        changes = [json.loads(line) for line in output.splitlines()]
        assert changes[-1]["state"] == "SENT"
        assert (await run("deliveries", "watch", sent["delivery_id"], "--cursor", "99", *here))[0] == 0
        code, output, _ = await run("deliveries", "get", sent["delivery_id"], "--json", *here)
        assert (code, json.loads(output)) == (0, changes[-1]["delivery"])
        code, output, _ = await run("deliveries", "get", sent["delivery_id"], *here)
        assert sent["message_id"] in output
        code, output, _ = await run("deliveries", "list", "--state", "SENT", "--since", "1h", *here)
        head, row, _ = output.splitlines()
        assert head.split()[:3] == ["id", "state", "accepted"]
        assert row.split()[:2] == [sent["delivery_id"], "SENT"]
        assert await send(address, "--request-id", "order-2")
        code, output, _ = await run("deliveries", "list", "--limit", "1", *here)
        assert "and more" in output
        code, output, _ = await run("deliveries", "list", "--before", "1h", "--json", *here)
        assert (code, json.loads(output)) == (0, [])
        code, output, _ = await run("deliveries", "cancel", sent["delivery_id"], *here)
        assert code == 1
        assert "not done" in output
        assert "DELIVERY_STATE_CONFLICT" in output
    assert len(inbox.mails) == 2


async def test_a_mail_under_way_is_cancelled_and_a_repeat_is_told_so(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.MAIL, stall)) as server, durable(server, tmp_path) as address:
        _, sent = await send(address, "--enqueue", "--request-id", "1")
        await server.reached(State.MAIL)
        code, output, errors = await run(
            "deliveries", "watch", "--request-id", "1", "--for", "1s", "--address", address
        )
        assert code == 1
        assert output.splitlines()[-1].endswith("SENDING")
        assert "no end yet" in errors
        code, output, _ = await run("deliveries", "cancel", "--request-id", "1", "--json", "--address", address)
        assert (code, json.loads(output)["state"]) == (0, "CANCELLED")
        code, again = await send(address, "--enqueue", "--request-id", "1")
        assert (code, again["outcome"], again["delivery_id"]) == (1, "CANCELLED", sent["delivery_id"])
        assert (await run("deliveries", "watch", "--request-id", "1", "--address", address))[0] == 1


async def test_a_held_mail_is_resolved(tmp_path: Path) -> None:
    async with SmtpServer(Fault(State.ACCEPTED, close)) as server, durable(server, tmp_path) as address:
        _, sent = await send(address, "--enqueue")
        name = sent["delivery_id"]
        code, output, _ = await run("deliveries", "watch", name, "--address", address)
        assert code == 1
        assert output.splitlines()[-1].endswith("UNKNOWN  DELIVERY_UNCERTAIN")
        code, output, _ = await run("deliveries", "list", "--address", address)
        assert "UNKNOWN, held" in output
        assert (await run("deliveries", "resolve", name, "--address", address))[0] == 2
        code, output, _ = await run("deliveries", "resolve", name, "--drop", "--address", address)
        assert code == 0
        assert "held" not in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "--to", "a@example.com", "--config", "x.json", "--enqueue"),
        ("send", "--to", "a@example.com", "--expire-in", "soon"),
        ("deliveries",),
        ("deliveries", "get"),
        ("deliveries", "get", "1", "--request-id", "1"),
        ("deliveries", "list", "--state", "GONE"),
        ("deliveries", "list", "--since", "10"),
    ],
)
async def test_what_cannot_be_meant_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    code, _, errors = await run(*arguments)
    assert code == 2
    assert errors


async def test_a_server_without_a_store_and_no_server_are_told_apart(tmp_path: Path) -> None:
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        code, output, _ = await run("deliveries", "list", "--address", service.address)
        assert code == 1
        assert "--store" in output
        code, output, _ = await run("send", "--to", "a@example.com", "--enqueue", "--address", service.address)
        assert code == 1
        assert "--store" in output
        address = service.address
    code, output, _ = await run("deliveries", "list", "--address", address, "--json")
    assert (code, json.loads(output)["reason"]) == (69, "")
