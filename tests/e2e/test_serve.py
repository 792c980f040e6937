"""`smtpconnector serve` as an operator runs it: a process, its flags, its signals, its exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.documents import document_for
from harness.fault import Fault, State
from harness.inbox import Inbox
from harness.smtp_server import SmtpServer
from smtpconnector import AsyncClient, SmtpConnectorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMAND = Path(sys.executable).with_name("smtpconnector")


@asynccontextmanager
async def serving(*flags: str, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `serve` and yield the process with the address that it announced."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("serve", "--listen", "127.0.0.1:0", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    try:
        ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert ready.startswith("smtpconnector "), ready
        yield process, ready.split()[-1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run a command to its end; return its exit code, output and error output."""
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "300", **environment},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, output.decode(), errors.decode()


def write(document: dict[str, Any], folder: Path) -> Path:
    file = folder / "profile.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


async def test_sends_by_the_command_line_and_stops_on_sigterm(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        file = write(document_for(inbox), tmp_path)
        async with serving("--profile", f"default={file}") as (process, address):
            assert (await run("healthcheck", "--address", address))[:2] == (0, "SERVING\n")
            code, output, _ = await run("send", "--to", "ada@example.com", "--address", address)
            assert (code, "accepted" in output) == (0, True)
            assert (await inbox.wait_for_mail()).message["Subject"] == "Generic 000000"
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_sends_from_a_file_without_a_server(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        file = write({**document_for(inbox), "port": "${PORT}"}, tmp_path)
        code, output, _ = await run(
            *("send", "--to", "ada@example.com", "--config", str(file), "--json"), PORT=str(inbox.port)
        )
        assert (code, json.loads(output)["outcome"]) == (0, "SENT")
        await inbox.wait_for_mail()


async def test_send_tells_what_is_wrong(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        file = write(document_for(inbox), tmp_path)
        code, output, _ = await run("send", "--to", "not an address", "--config", str(file))
        assert (code, "INVALID_REQUEST" in output, "to  " in output) == (1, True, True)


async def test_send_without_a_server_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        code, output, _ = await run("send", "--to", "ada@example.com", "--address", address, "--timeout", "2")
    assert (code, "not sent" in output) == (69, True)


async def test_sigterm_lets_a_mail_on_its_way_arrive_and_refuses_new_ones(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def late(wire: Any, reply: bytes) -> None:
        await released.wait()
        await wire.send(reply)

    async with SmtpServer(Fault(State.ACCEPTED, late)) as server:
        file = write({**document_for(server), "port": server.port}, tmp_path)
        async with (
            serving("--profile", f"default={file}", "--grace", "10") as (process, address),
            AsyncClient(address, timeout=10) as client,
        ):
            on_its_way = asyncio.ensure_future(client.send_message("ada@example.com", "SignIn"))
            await server.reached(State.ACCEPTED)
            process.send_signal(signal.SIGTERM)
            released.set()
            assert (await on_its_way).reply is not None
            assert await asyncio.wait_for(process.wait(), 10) == 0
        assert len(server.ledger) == 1


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async def never(wire: Any, reply: bytes) -> None:
        await asyncio.Event().wait()

    async with SmtpServer(Fault(State.ACCEPTED, never)) as server:
        file = write({**document_for(server), "port": server.port}, tmp_path)
        async with (
            serving("--profile", f"default={file}", "--grace", "600", "--log-format", "json") as (process, address),
            AsyncClient(address, timeout=10) as client,
        ):
            on_its_way = asyncio.ensure_future(client.send_message("ada@example.com", "SignIn"))
            await server.reached(State.ACCEPTED)
            assert process.stderr is not None
            process.send_signal(signal.SIGTERM)
            while b"server_draining" not in await asyncio.wait_for(process.stderr.readline(), 10):
                pass
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 1
            with pytest.raises(SmtpConnectorError):
                await on_its_way


async def test_workers_share_a_port_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        file = write(document_for(inbox), tmp_path)
        async with serving("--profile", f"default={file}", "--workers", "2") as (process, address):
            for _ in range(4):
                async with AsyncClient(address) as client:
                    await client.send_message("ada@example.com", "SignIn")
            first, second = children_of(process.pid)
            os.kill(first, signal.SIGKILL)
            while len(alive := children_of(process.pid)) < 2 or first in alive:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
            async with AsyncClient(address) as client:
                await client.send_message("ada@example.com", "SignIn")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0
            assert not children_of(process.pid)
            assert second


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize("hangs_up", [True, False])
async def test_a_changed_profile_serves_and_a_bad_one_does_not(hangs_up: bool, tmp_path: Path) -> None:
    async with Inbox() as inbox:
        document = document_for(inbox)
        file = write(document, tmp_path)
        async with (
            serving("--profile", f"default={file}", "--log-format", "json") as (process, address),
            AsyncClient(address) as client,
        ):
            for content, event, sender in [
                (json.dumps({**document, "fromEmail": "new@example.com"}), b"profile_reloaded", "new@example.com"),
                ("{", b"profile_refused", "new@example.com"),
            ]:
                file.write_text(content, encoding="utf-8")
                if hangs_up:
                    process.send_signal(signal.SIGHUP)
                assert process.stderr is not None
                while event not in await asyncio.wait_for(process.stderr.readline(), 10):
                    pass
                await client.send_message("ada@example.com", "SignIn")
                assert (await inbox.wait_for_mail()).sender == sender


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--listen", "0.0.0.0:0"], "--insecure"),
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--profile", "default"], "NAME=FILE"),
        (["--profile", "default=/no/such/file"], "/no/such/file"),
        (["--tls-cert", "x.pem"], "tls_key"),
        (["--auth-tokens", "/no/such/file"], "/no/such/file"),
        (["--allow-target", "a b"], "target"),
        (["--grace", "-1"], "grace"),
        (["--settings", "/no/such/file"], "/no/such/file"),
    ],
)
async def test_settings_that_cannot_work_are_said_at_the_start(flags: list[str], says: str) -> None:
    code, _, errors = await run("serve", "--listen", "127.0.0.1:0", *flags)
    assert (code, says in errors, "Traceback" in errors) == (78, True, False), errors


async def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    async with serving() as (_, address):
        code, _, errors = await run("serve", "--listen", address)
    assert (code, address in errors) == (78, True)


async def test_a_profile_with_errors_is_refused_with_all_of_them(tmp_path: Path) -> None:
    file = write({"host": "", "port": 70000, "auth": {}, "fromEmail": "x", "templates": []}, tmp_path)
    code, _, errors = await run("serve", "--profile", f"default={file}")
    assert code == 78
    for field in ("host", "port", "fromEmail", "templates"):
        assert field in errors


async def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        profile = write(document_for(inbox), tmp_path)
        settings = tmp_path / "settings.toml"
        settings.write_text(
            f'listen = "127.0.0.1:1"\ngrace = 1\n[profile]\nfrom-file = "{profile}"\n', encoding="utf-8"
        )
        async with serving("--settings", str(settings)) as (_, address), AsyncClient(address) as client:
            await client.send_message("ada@example.com", "SignIn", config="from-file")
        environment = {"SMTPCONNECTOR_PROFILE": f"from-environment={profile}"}
        async with serving("--settings", str(settings), **environment) as (_, address), AsyncClient(address) as client:
            await client.send_message("ada@example.com", "SignIn", config="from-environment")


@pytest.mark.parametrize("command", [[], ["serve"], ["check-config"], ["send"], ["metadata"], ["healthcheck"]])
async def test_help_teaches(command: list[str]) -> None:
    code, output, _ = await run(*command, "--help")
    assert (code, "usage: smtpconnector" in output) == (0, True)


async def test_metadata_and_check_config_speak_to_people_and_to_scripts(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        good = write(document_for(inbox), tmp_path)
        assert (await run("check-config", str(good)))[0] == 0
    bad = tmp_path / "bad.json"
    bad.write_text('{"host": "smtp.example.com",}', encoding="utf-8")
    code, output, _ = await run("check-config", str(bad))
    assert (code, "line 1" in output) == (1, True)
    code, output, _ = await run("check-config", str(bad), "--json")
    assert (code, json.loads(output)["valid"]) == (1, False)
    assert json.loads((await run("metadata", "--json"))[1])["id"] == "simple-mail-transfer-protocol"
    assert "fromEmail" in (await run("metadata"))[1]
