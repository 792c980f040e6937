"""The lines of examples/grpcurl, typed as they stand."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from harness.documents import document_for
from harness.example import ROOT, commands
from harness.inbox import Inbox
from harness.servers.programs import MissingServerError, program
from harness.service import running_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.examples

INVALID_ARGUMENT = 64 + 3


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


async def typed(block: int, **replaced: str) -> tuple[int | None, str, str]:
    """Type a block of the README; return exit code, output and errors."""
    try:
        grpcurl = program("grpcurl")
    except MissingServerError as missing:
        pytest.skip(str(missing))
    line = commands("grpcurl")[block].replace("\\\n", " ")
    arguments = [replaced.get(word, word) for word in shlex.split(line)]
    process = await asyncio.create_subprocess_exec(
        grpcurl, *arguments[1:], cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, output.decode(), errors.decode()


async def test_sends_shows_a_failure_and_checks(inbox: Inbox, tmp_path: Path) -> None:
    async with running_service({"default": document_for(inbox)}, tmp_path) as service:
        address = {"127.0.0.1:50051": service.address}
        exit_code, output, _ = await typed(0, **address)
        assert (exit_code, json.loads(output)["reply"]["code"]) == (0, 250)
        assert (await inbox.wait_for_mail()).message["Subject"] == "SignIn 246810"
        exit_code, _, errors = await typed(1, **address)
        assert exit_code == INVALID_ARGUMENT
        assert "google.rpc.BadRequest" in errors
        assert '"field": "to"' in errors
        exit_code, output, _ = await typed(2, **address)
        assert (exit_code, json.loads(output)["valid"]) == (0, True)


async def test_sends_to_a_service_that_asks_for_a_token(
    inbox: Inbox, secured: dict[str, Any], ca_file: str, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", token)
    async with running_service({"default": document_for(inbox)}, tmp_path, **secured) as service:
        target = service.address.replace("127.0.0.1", "localhost")
        exit_code, _, errors = await typed(3, **{"mail.internal:50051": target, "ca.pem": ca_file})
    assert (exit_code, errors) == (0, "")
    assert len(inbox.mails) == 1
