"""Logto's guard, recorded: the same verdict here, or a stricter one that the documentation lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.configuration import errors
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.origin import Origin

TESTS = Path(__file__).parents[2]
VECTORS = json.loads((TESTS / "vectors/logto-config-guard.json").read_text(encoding="utf-8"))["vectors"]
DOCUMENTATION = (TESTS.parent / "docs/configuration-differences.md").read_text(encoding="utf-8")

# Accepted by Logto, refused here: what is found.
STRICTER = {
    "cg-001": {"host", "auth.user", "auth.pass"},
    "cg-004": {"host", "auth.accessToken", "auth.clientId", "auth.clientSecret"},
    "cg-007": {"host", "auth.user", "auth.pass", "name", "localAddress"},
    "cg-010": {"host", "auth.user", "auth.pass"},
    "cg-025": {"auth.privateKey.key"},
    "cg-034": {"port"},
    "cg-037": {"host"},
    "cg-040": {"fromEmail"},
    "cg-058": {"tls.ca"},
    "cg-061": {"ignoreTLS"},
    "cg-067": {"replyTo"},
    "cg-070": {"url", "proxy", "sendmail"},
}
EXAMPLE_TEXT = {
    "<test.smtp.host>": "smtp.example.com",
    "<username>": "ada",
    "<password>": "hunter-two",
    "<client-id>": "client",
    "<client-secret>": "client-secret",
    "<access-token>": "token",
    "<local-address>": "127.0.0.1",
    "<name>": "mail.example.com",
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_the_verdict_is_logtos_or_a_documented_stricter_one(vector: dict[str, Any]) -> None:
    checked = read_document(vector["config"], origin=Origin.CALLER)
    found = {field for field, _ in errors(checked)}
    if vector["id"] in STRICTER:
        assert vector["valid"]
        assert found == STRICTER[vector["id"]]
        assert vector["id"] in DOCUMENTATION
    else:
        assert (checked.connector is not None) == vector["valid"]
        for path in vector.get("error_paths", ()):
            where = path.replace("templates.3.", "templates[3].")
            assert any(field.startswith(where) for field in found)
        for usage_type in vector.get("missing_usage_types", ()):
            assert any(usage_type in finding.message for finding in checked.findings)


@pytest.mark.parametrize("name", ["cg-001", "cg-004", "cg-007", "cg-010"])
def test_logtos_fixtures_are_valid_once_the_text_of_the_example_is_replaced(name: str) -> None:
    (vector,) = (vector for vector in VECTORS if vector["id"] == name)
    text = json.dumps(vector["config"])
    for example, value in EXAMPLE_TEXT.items():
        text = text.replace(example, value)
    assert errors(read_document(json.loads(text), origin=Origin.CALLER)) == []


def test_the_documentation_lists_no_other_vector() -> None:
    assert {vector["id"] for vector in VECTORS if vector["id"] in DOCUMENTATION} == set(STRICTER)
