"""Callers built with a release's protos are answered by today's server, and the answers mean what they meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.old_contract import RELEASES, OldContract
from harness.service import CallError, Service, running_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

USER = "ada@example.com"


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest) -> OldContract:
    return OldContract(request.param)


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


@pytest.fixture
async def service(inbox: Inbox, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service({"default": document_for(inbox)}, tmp_path) as service:
        yield service


def typed_configuration(inbox: Inbox) -> dict[str, Any]:
    templates = [
        {"usageType": usage, "contentType": "CONTENT_TYPE_TEXT_PLAIN", "subject": usage, "content": "Typed {{code}}"}
        for usage in ("Register", "SignIn", "ForgotPassword", "Generic")
    ]
    return {
        "host": inbox.host,
        "port": inbox.port,
        "tlsMode": "TLS_MODE_DISABLED",
        "fromEmail": "Typed <typed@example.com>",
        "templates": templates,
        "socketTimeout": "5s",
    }


async def test_the_metadata_show_a_form(old: OldContract, service: Service) -> None:
    answer = await old.call(service.channel, "GetMetadata", {})
    assert (answer.id, answer.target) == ("simple-mail-transfer-protocol", "smtp")
    assert answer.name["en"]
    assert {"host", "port", "fromEmail", "templates"} <= {item.key for item in answer.form_items}
    kinds = old.enum("FormItemType")
    (host,) = (item for item in answer.form_items if item.key == "host")
    assert (host.type, host.required) == (kinds["FORM_ITEM_TYPE_TEXT"], True)
    assert {"host", "port", "fromEmail", "templates"} <= set(answer.config_schema["properties"])
    (gmail,) = (preset for preset in answer.presets if preset.id == "gmail")
    assert gmail.host == "smtp.gmail.com"


async def test_a_configuration_that_works_is_valid(old: OldContract, service: Service) -> None:
    answer = await old.call(service.channel, "ValidateConfig", {"depth": "DEPTH_CONNECT"})
    assert answer.valid
    passed = old.enum("StepStatus")["STEP_STATUS_PASSED"]
    assert {"SCHEMA", "CONNECT", "EHLO"} <= {step.stage for step in answer.steps if step.status == passed}
    assert "<sender@example.com>" in answer.normalized["fromEmail"]
    assert "SMTPUTF8" in answer.capabilities.extensions


async def test_a_wrong_configuration_is_told_by_its_own_names(old: OldContract, service: Service) -> None:
    document = {"host": "smtp.example.com", "port": "many", "auth": {"user": "u", "pass": "p"}}
    answer = await old.call(service.channel, "ValidateConfig", {"config": {"document": document}})
    assert not answer.valid
    error = old.enum("Severity")["SEVERITY_ERROR"]
    assert {"port", "fromEmail", "templates"} <= {found.field for found in answer.findings if found.severity == error}


async def test_a_mail_is_sent_by_a_profile(old: OldContract, service: Service, inbox: Inbox) -> None:
    answer = await old.call(service.channel, "SendMessage", {"to": USER, "type": "SignIn", "payload": {"code": "1234"}})
    assert (answer.reply.code, answer.usage_type, answer.attempts) == (250, "SignIn", 1)
    mail = await inbox.wait_for_mail()
    assert mail.recipients == (USER,)
    assert mail.message["Message-ID"] == answer.message_id
    assert "Your code is 1234." in mail.message.get_content()


async def test_a_mail_is_sent_by_a_document(old: OldContract, service: Service, inbox: Inbox) -> None:
    document = document_for(inbox, fromEmail="Own <own@example.com>")
    request = {"to": USER, "type": "SignIn", "payload": {"code": "1234"}, "config": {"document": document}}
    answer = await old.call(service.channel, "SendMessage", request)
    assert answer.host == inbox.host
    assert (await inbox.wait_for_mail()).sender == "own@example.com"


async def test_a_mail_is_sent_by_a_typed_configuration(old: OldContract, service: Service, inbox: Inbox) -> None:
    request = {"to": USER, "type": "Register", "payload": {"code": 7}, "config": {"smtp": typed_configuration(inbox)}}
    await old.call(service.channel, "SendMessage", request)
    mail = await inbox.wait_for_mail()
    assert mail.sender == "typed@example.com"
    assert "Typed 7" in mail.message.get_content()


async def test_a_mail_is_sent_by_a_template_of_the_call(old: OldContract, service: Service, inbox: Inbox) -> None:
    template = {
        "subject": "Own {{code}}",
        "content": "<b>{{code}}</b>",
        "textContent": "text {{code}}",
        "replyTo": "help@example.com",
        "sendFrom": "Own <own@example.com>",
    }
    request = {"to": USER, "type": "Other", "payload": {"code": "<1>"}, "template": template}
    answer = await old.call(service.channel, "SendMessage", request)
    assert answer.usage_type == "Other"
    message = (await inbox.wait_for_mail()).message
    assert (message["Subject"], message["From"]) == ("Own <1>", "Own <own@example.com>")
    assert message["Reply-To"] == "help@example.com"
    text, html = message.iter_parts()
    assert (text.get_content().strip(), html.get_content().strip()) == ("text <1>", "<b>&lt;1&gt;</b>")


async def test_validate_only_sends_nothing(old: OldContract, service: Service, inbox: Inbox) -> None:
    request = {"to": USER, "type": "SignIn", "validateOnly": True}
    answer = await old.call(service.channel, "SendMessage", request)
    assert answer.message_id
    assert (answer.attempts, answer.HasField("reply")) == (0, False)
    assert inbox.mails == []


@pytest.mark.parametrize(
    ("request_", "code", "reason", "fields"),
    [
        ({"to": "nobody", "type": "SignIn"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", ["to"]),
        (
            {"to": USER, "type": "SignIn", "config": {"profile": "other"}},
            grpc.StatusCode.NOT_FOUND,
            "PROFILE_NOT_FOUND",
            None,
        ),
        (
            {"to": USER, "type": "SignIn", "config": {"document": {"host": ""}}},
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_CONFIG",
            None,
        ),
    ],
)
async def test_a_failure_has_a_reason_that_the_release_knows(
    old: OldContract,
    service: Service,
    request_: dict[str, Any],
    code: grpc.StatusCode,
    reason: str,
    fields: list[str] | None,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await old.call(service.channel, "SendMessage", request_)
    error = CallError(raised.value)
    assert (error.code, error.reason, error.metadata["outcome"]) == (code, reason, "NOT_SENT")
    assert f"ERROR_REASON_{error.reason}" in old.enum("ErrorReason")
    assert fields is None or error.fields == fields
