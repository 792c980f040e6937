"""GetMetadata and ValidateConfig over the wire: what the connector says of itself, and Logto's verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict

from smtpconnector.v1 import config_pb2, connector_service_pb2, metadata_pb2

if TYPE_CHECKING:
    from harness.service import Service

VECTORS = Path(__file__).parent.parent / "vectors"

LOGTO_FORM = {
    "host": ("TEXT", True),
    "port": ("NUMBER", True),
    "auth": ("JSON", True),
    "fromEmail": ("TEXT", True),
    "replyTo": ("TEXT", False),
    "templates": ("JSON", True),
    "logger": ("SWITCH", False),
    "debug": ("SWITCH", False),
    "disableFileAccess": ("SWITCH", False),
    "disableUrlAccess": ("SWITCH", False),
    "name": ("TEXT", False),
    "localAddress": ("TEXT", False),
    "connectionTimeout": ("NUMBER", False),
    "greetingTimeout": ("NUMBER", False),
    "socketTimeout": ("NUMBER", False),
    "dnsTimeout": ("NUMBER", False),
    "secure": ("SWITCH", False),
    "tls": ("JSON", False),
    "servername": ("TEXT", False),
    "ignoreTLS": ("SWITCH", False),
    "requireTLS": ("SWITCH", False),
    "customHeaders": ("JSON", False),
}
"""Key, kind and whether it is required, in Logto's order."""


async def metadata(service: Service) -> connector_service_pb2.GetMetadataResponse:
    return await service.stub.GetMetadata(connector_service_pb2.GetMetadataRequest(), timeout=10)


async def validate(service: Service, document: dict[str, Any]) -> connector_service_pb2.ValidateConfigResponse:
    request = connector_service_pb2.ValidateConfigRequest(
        config=config_pb2.ConnectorConfig(document=document)  # type: ignore[arg-type]  # a dict is fine at run time
    )
    return await service.stub.ValidateConfig(request, timeout=10)


async def test_says_who_it_is(service: Service) -> None:
    answer = await metadata(service)
    assert (answer.id, answer.target, answer.platform) == ("simple-mail-transfer-protocol", "smtp", "")
    for texts in (answer.name, answer.description):
        assert {"en", "zh-CN", "tr-TR", "ko"} <= set(texts)
        assert all(texts.values())
    assert answer.readme["en"].startswith("#")
    assert answer.logo.startswith("<svg")


async def test_the_form_begins_with_logtos_items_in_logtos_order(service: Service) -> None:
    answer = await metadata(service)
    kinds = metadata_pb2.FormItemType
    items = {
        item.key: (kinds.Name(item.type).removeprefix("FORM_ITEM_TYPE_"), item.required) for item in answer.form_items
    }
    assert dict(list(items.items())[: len(LOGTO_FORM)]) == LOGTO_FORM
    confidential = {item.key for item in answer.form_items if item.is_confidential}
    assert confidential == {"auth", "dkim", "tls"}


async def test_the_form_the_schema_and_the_example_know_the_same_keys(service: Service) -> None:
    answer = await metadata(service)
    schema = MessageToDict(answer.config_schema)
    example = MessageToDict(answer.config_template)
    keys = {item.key for item in answer.form_items}
    assert keys <= set(schema["properties"])
    assert set(example) <= set(schema["properties"])


async def test_the_presets_hold_what_they_need(service: Service) -> None:
    presets = {preset.id: preset for preset in (await metadata(service)).presets}
    assert len(presets) >= 18
    for preset in presets.values():
        assert preset.display_name
        assert preset.port
        assert preset.auth_kinds
        assert preset.source_url.startswith("https://")


def guard_cases() -> list[Any]:
    vectors = json.loads((VECTORS / "logto-config-guard.json").read_text(encoding="utf-8"))["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in vectors if isinstance(vector["config"], dict)]


@pytest.mark.parametrize("vector", guard_cases())
async def test_what_logto_refuses_is_refused_at_its_path(vector: dict[str, Any], service: Service) -> None:
    """The other direction, with every documented difference, is in tests/unit/config/test_logto_guard.py."""
    answer = await validate(service, vector["config"])
    assert answer.valid is not any(finding.severity == 1 for finding in answer.findings)
    assert [step.stage for step in answer.steps] == ["SCHEMA"]
    if not vector["valid"]:
        assert not answer.valid
        fields = {finding.field.replace("[", ".").replace("]", "") for finding in answer.findings}
        for path in vector["error_paths"]:
            assert any(field == path or field.startswith(f"{path}.") for field in fields), (path, fields)
