"""docs/ops/logs.md lists every event and its fields, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "ops" / "logs.md"
SERVER = ROOT / "server" / "smtpconnector_server"
LEVELS = {"debug", "info", "warning", "error"}
VARIABLE_LEVEL = "log"
ROW = re.compile(
    r"^\| `(?P<event>\w+)` \| (?P<level>[\w ]+) \| (?P<fields>[^|]*) \| (?P<meaning>[^|]+) \|$", re.MULTILINE
)


def events_of_the_code() -> dict[str, tuple[str, set[str]]]:
    """By name: the level and the fields of each event that the server logs."""
    events: dict[str, tuple[str, set[str]]] = {}
    for module in SERVER.rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if not isinstance(call.func.value, ast.Name) or call.func.value.id != "_log":
                continue
            level, arguments = call.func.attr, call.args
            if level == VARIABLE_LEVEL:
                level, arguments = "as the library says", arguments[1:]
            else:
                assert level in LEVELS, (module, call.lineno)
            assert len(arguments) == 1, (module, call.lineno)
            name = arguments[0]
            assert isinstance(name, ast.Constant), (module, call.lineno)
            fields = {keyword.arg for keyword in call.keywords}
            assert None not in fields, (module, call.lineno)
            known_level, known_fields = events.get(str(name.value), (level, set()))
            assert known_level == level, name.value
            events[str(name.value)] = level, known_fields | {str(field) for field in fields}
    return events


def events_of_the_page() -> dict[str, tuple[str, set[str]]]:
    text = PAGE.read_text(encoding="utf-8")
    return {row["event"]: (row["level"], set(re.findall(r"`(\w+)`", row["fields"]))) for row in ROW.finditer(text)}


def test_the_page_lists_every_event_with_its_level_and_fields() -> None:
    assert events_of_the_page() == events_of_the_code()


def test_an_event_is_one_stable_name() -> None:
    for event in events_of_the_code():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", event), event


def test_the_page_lists_every_field_that_is_bound_to_the_lines_of_a_call() -> None:
    bound = set()
    for module in SERVER.rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            is_method = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            if is_method and call.func.attr == "bind_contextvars":
                bound |= {keyword.arg for keyword in call.keywords}
    section = PAGE.read_text(encoding="utf-8").partition("## Fields of a call")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == bound
