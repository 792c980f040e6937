"""One retry policy in every language: the examples and the page for callers do not drift apart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def service_config(page: str, opening: str, closing: str) -> Any:
    text = (ROOT / page).read_text(encoding="utf-8")
    return json.loads(text.partition(opening)[2].partition(closing)[0])


DOCUMENTED = service_config("docs/clients.md", "```json\n", "```")
POLICY = DOCUMENTED["methodConfig"][0]["retryPolicy"]


@pytest.mark.parametrize(
    ("file", "opening"),
    [("examples/go/main.go", "serviceConfig = `"), ("examples/typescript/src/send.ts", "SERVICE_CONFIG = `")],
)
def test_an_example_has_the_service_config_of_the_page(file: str, opening: str) -> None:
    assert service_config(file, opening, "`") == DOCUMENTED


def test_java_has_its_numbers() -> None:
    source = (ROOT / "examples/java/src/main/java/com/example/send/Send.java").read_text(encoding="utf-8")
    found = dict(re.findall(r'"(\w+)", "?([\d.]+s?)"?[,)]', source))
    assert found == {
        "maxAttempts": f"{POLICY['maxAttempts']}.0",
        "initialBackoff": POLICY["initialBackoff"],
        "maxBackoff": POLICY["maxBackoff"],
        "backoffMultiplier": f"{POLICY['backoffMultiplier']}.0",
    }


def test_rust_has_its_numbers() -> None:
    source = (ROOT / "examples/rust/src/main.rs").read_text(encoding="utf-8")
    found = dict(re.findall(r"const (\w+): \w+ = (?:Duration::from_millis\()?(\d+)", source))
    assert int(found["MAX_ATTEMPTS"]) == POLICY["maxAttempts"]
    assert int(found["FIRST_BACKOFF"]) == float(POLICY["initialBackoff"].removesuffix("s")) * 1000
