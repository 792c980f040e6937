from __future__ import annotations

import ast
from pathlib import Path

import pytest

import smtpconnector_server.message

MODULES = sorted(Path(smtpconnector_server.message.__file__).parent.glob("*.py"))
ALLOWED = ("smtpconnector_server.failure", "smtpconnector_server.message", "smtpconnector_server.value_object")
IMPURE = {"asyncio", "socket", "ssl", "threading", "os", "grpc", "google", "smtpconnector", "logging", "structlog"}


def imports(module: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_room_does_no_input_or_output_and_knows_no_other_room(module: Path) -> None:
    for name in imports(module):
        assert name.partition(".")[0] not in IMPURE
        assert not name.startswith("smtpconnector_server") or name.startswith(ALLOWED)
