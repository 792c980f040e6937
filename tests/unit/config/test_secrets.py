"""A canary in every field that may hold a secret must not be heard of again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from harness.configuration import document
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.typed import read_template, read_typed

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "canary-7f3a9"
PLACES: list[tuple[str, ...]] = [
    ("auth", "user"),
    ("auth", "pass"),
    ("auth", "type"),
    ("auth", "method"),
    ("auth", "clientSecret"),
    ("auth", "refreshToken"),
    ("auth", "accessToken"),
    ("auth", "accessUrl"),
    ("auth", "privateKey"),
    ("auth", "expires"),
    ("tls", "key"),
    ("tls", "passphrase"),
    ("tls", "ca"),
    ("tls", "servername"),
    ("tls", "minVersion"),
    ("tls", "ciphers"),
    ("customHeaders", "X-Key"),
    ("templates",),
    ("host",),
    ("port",),
    ("name",),
    ("localAddress",),
    ("fromEmail",),
    ("replyTo",),
    ("service",),
    ("password",),
    ("dsn", "id"),
    ("dsn", "notify"),
    ("dsn", "orcpt"),
    ("otp", "origin"),
    ("otp", "code"),
    ("dkim", "domainName"),
    ("dkim", "keySelector"),
    ("dkim", "privateKey"),
    ("dkim", "keys"),
    ("dkim", "headerFieldNames"),
    ("proxy",),
    ("quux",),
]


def values() -> Iterator[Any]:
    """The canary in every shape in which a rule might show it."""
    yield CANARY
    yield f"{CANARY}\r\nx\x00"
    yield f"/run/secrets/{CANARY}"
    yield f"<{CANARY}>"
    yield f"https://{CANARY}@x.example/#{CANARY}"
    yield f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"
    yield CANARY * 20_000
    yield [CANARY, 1]
    yield {"key": CANARY, "pem": CANARY, "passphrase": CANARY}
    yield [{"usageType": CANARY, "subject": f"{CANARY}\n", "content": CANARY, "contentType": CANARY, "replyTo": CANARY}]


@pytest.mark.parametrize("place", PLACES, ids=".".join)
@pytest.mark.parametrize("auth", [{"user": "u", "pass": "p"}, {"type": "OAuth2", "user": "u", "accessToken": "t"}])
def test_no_finding_and_no_repr_shows_a_value(place: tuple[str, ...], auth: dict[str, Any]) -> None:
    for value in values():
        changed = copy.deepcopy(document(auth=auth, tls={}, customHeaders={}, dsn={}, otp={}, dkim={}))
        target = changed
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = value
        checked = read_document(changed, origin=Origin.CALLER)
        assert CANARY not in repr(checked.findings)


@pytest.mark.parametrize("field", ["password", "user"])
def test_the_typed_form_is_as_discreet(field: str) -> None:
    for value in values():
        checked = read_typed({"host": "h", "login": {"user": "u", "password": "p", field: value}})
        assert CANARY not in repr(checked.findings)
    _, findings = read_template(
        {"usage_type": "SignIn", "subject": f"{CANARY}\n", "content": CANARY, "send_from": CANARY}
    )
    assert CANARY not in repr(findings)


def test_a_configuration_does_not_show_its_secrets() -> None:
    checked = read_document(
        document(auth={"user": "u", "pass": CANARY}, customHeaders={"X-Key": CANARY}), origin=Origin.CALLER
    )
    assert checked.connector is not None
    assert CANARY not in repr(checked)
