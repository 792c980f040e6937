"""`smtpconnector check-config` as an operator runs it: a process, its output, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import ca_pem, server_context
from harness.documents import document_for
from harness.fault import Fault, State, stall
from harness.sasl import Credentials
from harness.smtp_server import SmtpServer

COMMAND = Path(sys.executable).with_name("smtpconnector")
CREDENTIALS = Credentials()
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


def smtp_server(*faults: Fault) -> SmtpServer:
    return SmtpServer(*faults, tls=server_context(), credentials=CREDENTIALS)


def write(smtp: SmtpServer, folder: Path, password: str = CREDENTIALS.password, **changes: Any) -> Path:
    auth = {"user": CREDENTIALS.user, "pass": password}
    document = document_for(smtp, **{"auth": auth, "tls": {"ca": ca_pem()}, **changes})  # type: ignore[arg-type]
    file = folder / "profile.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


async def check(*arguments: str | Path) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and error output."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "check-config",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, output.decode(), errors.decode()


async def test_a_configuration_that_works(tmp_path: Path) -> None:
    async with smtp_server() as smtp:
        code, output, errors = await check(
            write(smtp, tmp_path), "--depth", "envelope", "--to", "ada.lovelace@example.org"
        )
        await smtp.all_sessions_ended()
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    stages = ["SCHEMA", "RESOLVE", "CONNECT", "GREETING", "EHLO", "STARTTLS", "TLS", "EHLO", "AUTH", "MAIL", "RCPT"]
    assert [line.split()[:2] for line in lines[1:-1]] == [["passed", stage] for stage in stages]
    assert "can be used" in lines[-1]
    assert "lovelace" not in output
    assert [session.verbs[-1] for session in smtp.sessions] == [b"QUIT"]
    assert smtp.ledger == []


async def test_a_wrong_password_is_told_and_tried_once(tmp_path: Path) -> None:
    async with smtp_server() as smtp:
        code, output, errors = await check(write(smtp, tmp_path, "kR7-wrong"), "--depth", "authenticate")
        await smtp.all_sessions_ended()
    assert code == 1
    assert "failed  AUTH" in output
    assert "ERROR   auth.pass" in output
    assert "cannot be used" in output
    assert "kR7-wrong" not in output + errors
    assert [session.verbs.count(b"AUTH") for session in smtp.sessions] == [1]


async def test_answers_in_json_for_scripts(tmp_path: Path) -> None:
    async with smtp_server() as smtp:
        code, output, _ = await check(write(smtp, tmp_path, "wrong"), "--depth", "authenticate", "--json")
    answer = json.loads(output)
    assert (code, answer["valid"]) == (1, False)
    assert [step["stage"] for step in answer["steps"] if step["status"] == "FAILED"] == ["AUTH"]
    assert {"field": "auth.pass", "reason": "SMTP_AUTH_FAILED"}.items() <= answer["findings"][0].items()
    assert answer["capabilities"]["level"] == "PIPELINING"


async def test_connects_to_nothing_unless_asked_to(tmp_path: Path) -> None:
    async with smtp_server() as smtp:
        code, output, _ = await check(write(smtp, tmp_path))
    assert (code, "can be used" in output) == (0, True)
    assert smtp.sessions == []


async def test_ends_in_the_time_that_it_is_given(tmp_path: Path) -> None:
    async with smtp_server(Fault(State.EHLO, stall)) as smtp:
        code, output, _ = await check(write(smtp, tmp_path), "--depth", "connect", "--timeout", "1")
    assert (code, "failed  EHLO" in output) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [("--depth", "connect", "--to", "ada@example.org"), ("--depth", "envelope", "--to", "ada"), ("--timeout", "0")],
)
async def test_tells_wrong_usage_from_a_wrong_configuration(arguments: tuple[str, ...], tmp_path: Path) -> None:
    async with smtp_server() as smtp:
        code, _, errors = await check(write(smtp, tmp_path), *arguments)
    assert code == 2
    assert arguments[-2] in errors
    assert smtp.sessions == []


async def test_grows_a_tree_on_a_terminal(tmp_path: Path) -> None:
    """The step under way is on the screen while the server still keeps it waiting."""
    ours, its = pty.openpty()
    screen = bytearray()
    loop = asyncio.get_running_loop()
    waits = asyncio.Event()

    def read() -> None:
        try:
            screen.extend(os.read(ours, 65536))
        except OSError:  # the process has closed its end
            loop.remove_reader(ours)
        if "EHLO" in shown():
            waits.set()

    def shown() -> str:
        return _ESCAPES.sub("", screen.decode(errors="replace"))

    async with smtp_server(Fault(State.EHLO, stall)) as smtp:
        arguments = write(smtp, tmp_path), "--depth", "connect", "--timeout", "20"
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            "check-config",
            *arguments,
            stdin=its,
            stdout=its,
            stderr=its,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(its)
        loop.add_reader(ours, read)
        try:
            await asyncio.wait_for(waits.wait(), 15)
        finally:
            process.terminate()
            await process.wait()
            loop.remove_reader(ours)
            os.close(ours)
    assert "├── ✔ GREETING" in shown()
