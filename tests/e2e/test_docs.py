"""What README and docs say is true: snippets run, configurations are valid, links lead somewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.servers.programs import program
from harness.service import running_service
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.finding import Severity
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.store.keyring import given_keys

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("client/*.md"),
        *ROOT.glob("examples/**/*.md"),
    )
    if "node_modules" not in page.parts
)
SNIPPET_ADDRESS = "127.0.0.1:50051"
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_BLANK = re.compile(r"<[a-z0-9-]+>")


def snippets(language: str, *names: str) -> list[Any]:
    found = []
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        blocks = [block["text"] for block in _BLOCK.finditer(text) if block["language"] == language]
        found += [pytest.param(block, id=f"{name}-{number}") for number, block in enumerate(blocks, 1)]
    return found


READMES = ("README.md", "README.zh-CN.md")


@pytest.mark.parametrize("snippet", snippets("python", *READMES, "client/README.md", "docs/delivery.md"))
async def test_a_python_snippet_runs(snippet: str, tmp_path: Path) -> None:
    store = str(tmp_path / "snippet.db")
    async with (
        Inbox() as inbox,
        running_service({"default": document_for(inbox)}, tmp_path, store=store) as service,
    ):
        script = tmp_path / "snippet.py"
        script.write_text(snippet.replace(SNIPPET_ADDRESS, service.address), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable, script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, output.decode()


async def test_the_command_lines_of_durable_delivery_run(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "store.db").execute("CREATE TABLE delivery (id)")
    lines = "".join(case.values[0] for case in snippets("sh", "docs/delivery.md")).splitlines()
    store = str(tmp_path / "served.db")
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path, store=store) as service:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        for line in lines:
            if line.startswith("smtpconnector serve"):
                continue  # tests of `serve` start servers
            asks = line.startswith(("smtpconnector send", "smtpconnector deliveries"))
            process = await asyncio.create_subprocess_shell(
                f"{line} --address {service.address}" if asks else line,
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, (line, output.decode())
    assert given_keys(tmp_path / "store.key").active_id
    assert (tmp_path / "store.key").stat().st_mode & 0o077 == 0
    assert sqlite3.connect(tmp_path / "copy.db").execute("SELECT count(*) FROM delivery").fetchone() == (0,)


@pytest.mark.parametrize("snippet", snippets("json", *READMES))
def test_a_configuration_only_needs_the_accounts_values(snippet: str) -> None:
    filled = _BLANK.sub("account@example.com", re.sub(r"\$\{\w+\}", "secret-1", snippet))
    findings = read_document(json.loads(filled), origin=Origin.PROFILE).findings
    assert [finding for finding in findings if finding.severity <= Severity.WARNING] == []


@pytest.mark.needs_server("grpcurl")
@pytest.mark.parametrize("snippet", [case for case in snippets("sh", *READMES) if "grpcurl" in case.values[0]])
async def test_a_grpcurl_line_sends(snippet: str, tmp_path: Path) -> None:
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        arguments = shlex.split(snippet.replace("\\\n", " ").replace(SNIPPET_ADDRESS, service.address))
        process = await asyncio.create_subprocess_exec(
            program("grpcurl"), *arguments[1:], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, output.decode()
        assert "SignIn" in json.loads(output).values()
        await inbox.wait_for_mail()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = [match["target"] for match in _LINK.finditer(page.read_text(encoding="utf-8"))]
    for target in targets:
        if "://" not in target and not target.startswith(("#", "mailto:")):
            path = page.parent / target.partition("#")[0]
            assert path.exists(), target


def test_every_test_that_the_security_model_names_exists() -> None:
    text = (ROOT / "docs" / "ops" / "security.md").read_text(encoding="utf-8")
    named = 0
    source = ""
    for reference in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?|test_\w+)`", text):
        path, _, name = reference.partition("::") if reference.startswith("tests/") else ("", "", reference)
        source = (ROOT / path).read_text(encoding="utf-8") if path else source
        assert not name or f"def {name}(" in source, reference
        named += 1
    assert named > 40


def test_the_readmes_have_the_same_sections() -> None:
    counts = {name: (ROOT / name).read_text(encoding="utf-8").count("\n## ") for name in READMES}
    assert len(set(counts.values())) == 1
