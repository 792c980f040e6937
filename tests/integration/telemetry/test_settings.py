"""The settings of telemetry, as an operator gives them."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.served import served
from smtpconnector import AsyncClient

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a key of the operator"


async def start(*flags: str, **environment: str) -> tuple[int | None, str]:
    """Start what cannot start; return its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smtpconnector_server", "serve", "--listen", "127.0.0.1:0", *flags),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, errors.decode()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_address_of_metrics_that_is_taken_is_said_at_the_start(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, errors = await start("--metrics-listen", address, "--workers", workers)
    assert (code, address in errors, "Traceback" in errors) == (78, True, False), errors


async def test_an_address_of_metrics_that_is_none_is_said_at_the_start() -> None:
    code, errors = await start("--metrics-listen", "nonsense")
    assert (code, "metrics_listen" in errors, "HOST:PORT" in errors) == (78, True, True), errors


async def test_a_key_that_could_be_guessed_is_refused_without_showing_it() -> None:
    code, errors = await start(SMTPCONNECTOR_LOG_HASH_KEY="canary")
    assert (code, "log_hash_key" in errors, "canary" in errors) == (78, True, False), errors


async def test_who_has_the_key_finds_the_lines_of_a_recipient(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        profile = tmp_path / "profile.json"
        profile.write_text(json.dumps(document_for(inbox)), encoding="utf-8")
        async with served("--profile", f"default={profile}", SMTPCONNECTOR_LOG_HASH_KEY=KEY) as server:
            async with AsyncClient(server.address) as client:
                await client.send_message("Ada@Example.com", "SignIn")
            line = await server.line("call_finished")
            assert await server.stop() == 0
        assert line["recipient"] == hmac.digest(KEY.encode(), b"ada@example.com", "sha256").hex()[:16]
        assert not any(part in server.errors.lower() for part in (b"ada@", b"example.com"))  # "ada" may be hexadecimal


async def test_traces_without_their_packages_are_a_warning_and_mails_go_on(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        profile = tmp_path / "profile.json"
        profile.write_text(json.dumps(document_for(inbox)), encoding="utf-8")
        async with served("--profile", f"default={profile}", OTEL_TRACES_EXPORTER="no_such_exporter") as server:
            assert "no_such_exporter" in (await server.line("tracing_unavailable"))["error"]
            async with AsyncClient(server.address) as client:
                await client.send_message("ada@example.com", "SignIn")
            assert await server.stop() == 0


def test_what_is_off_is_not_even_imported() -> None:
    script = (
        "import sys, smtpconnector_server.app; print(sorted({'prometheus_client', 'opentelemetry'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own script
    assert ended.stdout == "[]\n"
