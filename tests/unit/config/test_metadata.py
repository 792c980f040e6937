"""Form, example, texts and documentation: all from one table, so none of them can say anything else."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.configuration import errors
from smtpconnector_server import config
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.documentation import filled_in
from smtpconnector_server.config.example import example_document
from smtpconnector_server.config.form import FormItemType, form_items
from smtpconnector_server.config.keys import keys
from smtpconnector_server.config.metadata import connector_metadata
from smtpconnector_server.config.model import PoolLimits, Timeouts
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.presets import presets
from smtpconnector_server.config.shape import DocumentShape, key_names
from smtpconnector_server.config.templates import REQUIRED, USAGE_TYPES

LANGUAGES = {"en", "zh-CN", "tr-TR", "ko"}
DOCS = Path(__file__).parents[3] / "docs"
LOGTOS_FORM = [
    *("host", "port", "auth", "fromEmail", "replyTo", "templates", "logger", "debug", "disableFileAccess"),
    *("disableUrlAccess", "name", "localAddress", "connectionTimeout", "greetingTimeout", "socketTimeout"),
    *("dnsTimeout", "secure", "tls", "servername", "ignoreTLS", "requireTLS", "customHeaders"),
]


class TestForm:
    def test_is_logtos_form_and_then_ours(self) -> None:
        names = [item.key for item in form_items()]
        assert names[: len(LOGTOS_FORM)] == LOGTOS_FORM
        assert names[len(LOGTOS_FORM) :] == [
            *(
                "service",
                "authMethod",
                "maxConnections",
                "maxMessages",
                "idleTimeout",
                "rateLimit",
                "rateDelta",
                "singleFlight",
                "dsn",
                "otp",
                "dkim",
            )
        ]

    def test_has_logtos_types_and_requirements(self) -> None:
        items = {item.key: item for item in form_items()}
        assert {key for key, item in items.items() if item.required} == {
            "host",
            "port",
            "auth",
            "fromEmail",
            "templates",
        }
        assert items["port"].type is FormItemType.NUMBER
        assert {items[key].type for key in ("auth", "templates", "tls", "customHeaders")} == {FormItemType.JSON}
        assert items["secure"].type is FormItemType.SWITCH
        assert items["connectionTimeout"].default_value == 120_000

    def test_hides_what_holds_secrets(self) -> None:
        assert {item.key for item in form_items() if item.is_confidential} == {"auth", "tls", "dkim"}

    def test_offers_every_provider(self) -> None:
        (service,) = (item for item in form_items() if item.key == "service")
        assert [choice.value for choice in service.select_items] == [preset.id for preset in presets()]

    def test_shows_the_switches_of_starttls_without_secure_only(self) -> None:
        shown = {item.key: item.show_conditions for item in form_items() if item.show_conditions}
        assert shown.keys() == {"ignoreTLS", "requireTLS"}
        for conditions in shown.values():
            assert [(condition.target_key, condition.expect_value) for condition in conditions] == [("secure", False)]

    def test_speaks_every_language(self) -> None:
        for item in form_items():
            assert {"en", *item.localized_labels} == LANGUAGES
            assert {"en", *item.localized_descriptions} == LANGUAGES
            assert item.label
            assert item.description


def test_the_table_names_the_keys_of_the_document() -> None:
    assert [key.name for key in keys()] == key_names(DocumentShape)


def test_defaults_in_the_table_are_those_of_the_model() -> None:
    defaults = {key.name: key.default for key in keys()}
    timeouts, pool = Timeouts(), PoolLimits()
    assert defaults["dnsTimeout"] == timeouts.dns * 1000
    assert defaults["connectionTimeout"] == timeouts.connection * 1000
    assert defaults["greetingTimeout"] == timeouts.greeting * 1000
    assert defaults["socketTimeout"] == timeouts.socket * 1000
    texts = {key.name: key.description["en"] for key in keys()}
    assert f"0: {pool.max_connections}," in texts["maxConnections"]
    assert texts["maxMessages"].endswith(f"0: {pool.max_messages}.")
    assert texts["idleTimeout"].endswith(f"0: {pool.idle_seconds * 1000:.0f}.")
    assert texts["rateDelta"].endswith(f"0: {pool.rate_seconds * 1000:.0f}.")


class TestExample:
    def test_has_every_key_of_the_form(self) -> None:
        assert list(example_document()) == [item.key for item in form_items()]

    def test_has_a_template_for_every_usage_type_of_today(self) -> None:
        usage_types = [template["usageType"] for template in example_document()["templates"]]
        assert usage_types[:4] == list(REQUIRED)
        assert set(usage_types) == set(USAGE_TYPES) - {"Test"}

    def test_is_good_once_it_is_filled_in(self) -> None:
        checked = read_document(example_document(), origin=Origin.CALLER)
        assert {reason for _, reason in errors(checked)} == {"PLACEHOLDER_TEXT"}
        text = json.dumps(example_document()).replace("<host>", "smtp.example.com")
        filled = re.sub(r"<your-sender-address>|<username>", "ada@example.com", text).replace("<password>", "p")
        checked = read_document(json.loads(filled), origin=Origin.CALLER)
        assert checked.findings == ()

    def test_is_new_each_time(self) -> None:
        example_document()["templates"].clear()
        assert example_document()["templates"]


class TestConnector:
    def test_has_logtos_identity(self) -> None:
        metadata = connector_metadata()
        assert (metadata.id, metadata.target, metadata.platform) == ("simple-mail-transfer-protocol", "smtp", None)

    def test_speaks_every_language(self) -> None:
        assert set(connector_metadata().name) == set(connector_metadata().description) == LANGUAGES
        assert {"en", "zh-CN"} <= set(connector_metadata().readme)

    @pytest.mark.parametrize("logo", ["logo", "logo_dark"])
    def test_has_a_logo_that_is_a_picture_and_nothing_else(self, logo: str) -> None:
        picture = ET.fromstring(getattr(connector_metadata(), logo))  # noqa: S314 - our own file
        assert {element.tag.rpartition("}")[2] for element in picture.iter()} == {"svg", "rect", "path"}


class TestDocumentation:
    def test_holds_the_tables_as_they_are(self) -> None:
        page = (DOCS / "configuration.md").read_text(encoding="utf-8")
        assert filled_in(page) == page, "run scripts/write-configuration-docs"

    def test_explains_every_reason_of_a_finding_and_no_other(self) -> None:
        page = (DOCS / "configuration.md").read_text(encoding="utf-8")
        explained = re.findall(r"^\| `([A-Z_]{6,})` \|", page, re.MULTILINE)
        assert len(explained) == len(set(explained))
        assert set(explained) == _reasons_in_the_code()


def _reasons_in_the_code() -> set[str]:
    """Every text in the room's code that looks like a reason; test data and other rooms' names apart."""
    others = {"OAUTHBEARER", "ENCRYPTED"}
    found = set()
    (folder,) = config.__path__
    for file in Path(folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if re.fullmatch(r"[A-Z][A-Z_]{5,}", node.value) else set()
    return found - others
