"""Logto's own fixtures and cases, through the running service over gRPC."""

from __future__ import annotations

import json
from email.header import decode_header, make_header
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.documents import document_for, plain_templates
from smtpconnector.v1 import config_pb2

if TYPE_CHECKING:
    from harness.inbox import Inbox, Mail
    from harness.service import Service

VECTORS = Path(__file__).parent.parent / "vectors"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return loaded


def cases(name: str) -> list[Any]:
    return [pytest.param(vector, id=vector["id"]) for vector in load(name)["vectors"]]


def body_of(mail: Mail) -> str:
    return mail.message.get_content().replace("\r\n", "\n").removesuffix("\n")


@pytest.mark.parametrize("vector", cases("logto-smtp-send.json"))
async def test_a_message_gives_the_mail_that_logto_gives(
    vector: dict[str, Any], service: Service, inbox: Inbox
) -> None:
    """Difference: `foo` is no address, so the recipient gets a domain; 127.0.0.1 stands for `<test.smtp.host>`."""
    document = {
        **load("logto-smtp-send.json")["base_config"],
        **vector.get("config_patch", {}),
        "host": inbox.host,
        "port": inbox.port,
        "auth": {},
    }
    message = vector["message"]
    template = None
    if "i18n_template" in vector:
        details = vector["i18n_template"]
        template = config_pb2.Template(
            subject=details["subject"],
            content=details["content"],
            content_type=config_pb2.CONTENT_TYPE_TEXT_PLAIN,
            reply_to=details["replyTo"],
            send_from=details["sendFrom"],
        )
    to = f"{message['to']}@example.com"

    await service.send(
        to=to, type=message["type"], payload=message["payload"], config={"document": document}, template=template
    )

    mail = await inbox.wait_for_mail()
    expected = vector["expected"]
    assert mail.recipients == (to,)
    assert mail.sender == "notice@test.smtp"
    assert mail.message["To"] == to
    assert (
        mail.message["From"] == expected["from"].removeprefix("<").removesuffix(">")
        or mail.message["From"] == expected["from"]
    )
    assert mail.message["Subject"] == expected["subject"]
    assert body_of(mail) == expected["text"]
    assert mail.message["Reply-To"] == expected.get("replyTo")
    for name, value in expected.get("headers", {}).items():
        assert mail.message.get_all(name) == (value if isinstance(value, list) else [value])


@pytest.mark.parametrize("vector", cases("handlebars.json"))
async def test_placeholders_render_as_logto_renders_them(
    vector: dict[str, Any], service: Service, inbox: Inbox
) -> None:
    template = config_pb2.Template(
        subject="s", content=vector["template"], content_type=config_pb2.CONTENT_TYPE_TEXT_PLAIN
    )
    expected = vector.get("ours", vector["expected"])
    if any(ord(character) < 0x20 and character not in "\t\r\n" for character in expected):
        refused = await service.send_refused(
            to="a@example.com", type="SignIn", payload=vector["payload"], template=template
        )
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT  # difference: no control character gets into a mail
        return

    await service.send(to="a@example.com", type="SignIn", payload=vector["payload"], template=template)

    assert body_of(await inbox.wait_for_mail()) == expected


@pytest.mark.parametrize("vector", cases("template-selection.json"))
async def test_the_template_is_chosen_as_logto_chooses_it(
    vector: dict[str, Any], service: Service, inbox: Inbox
) -> None:
    """Difference: a configuration without a template that Logto requires is refused before the choice."""
    templates = [{"contentType": "text/plain", "content": "c", **template} for template in vector["templates"] or []]
    is_complete = "error" not in vector["expected"]
    if is_complete:
        taken = {template["usageType"] for template in templates}
        templates += [template for template in plain_templates() if template["usageType"] not in taken]
    document = document_for(inbox, templates=templates)

    if is_complete:
        await service.send(to="a@example.com", type=vector["type"], config={"document": document})
        assert (await inbox.wait_for_mail()).message["Subject"] == vector["expected"]["subject"]
    else:
        refused = await service.send_refused(to="a@example.com", type=vector["type"], config={"document": document})
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_CONFIG")


@pytest.mark.parametrize("vector", [case for case in cases("recipient-policy.json") if "input" in case.values[0]])
async def test_exactly_one_address_is_a_recipient(vector: dict[str, Any], service: Service, inbox: Inbox) -> None:
    """Difference: rp-50 says that it is longer than 254 octets. It has 249, as RFC 5321, section 4.5.3.1.3, allows."""
    if vector["ours"] == "reject" and vector["id"] != "rp-50":
        refused = await service.send_refused(to=vector["input"], type="SignIn")
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert refused.fields == ["to"]
        assert not inbox.mails
    else:
        await service.send(to=vector["input"], type="SignIn")
        assert (await inbox.wait_for_mail()).recipients == (vector.get("envelope", vector["input"]),)


@pytest.mark.parametrize("vector", cases("mailbox-format.json"))
async def test_a_sender_is_written_as_nodemailer_writes_it(
    vector: dict[str, Any], service: Service, inbox: Inbox
) -> None:
    """Differences: a control character, a name of more than 64 characters that comes from the payload, and a local part
    that is not quoted although it has to be are refused, not mended.
    """
    template = config_pb2.Template(subject="s", content="c", send_from=f"{{{{name}}}} <{vector['address']}>")
    if ";" in vector["address"]:
        refused = await service.send_refused(to="a@example.com", type="SignIn", template=template)
        assert refused.fields == ["template.send_from"]
        return
    call = {"to": "a@example.com", "type": "SignIn", "payload": {"name": vector["name"]}, "template": template}
    if any(ord(character) < 0x20 for character in vector["name"]) or len(vector["name"]) > 64:
        refused = await service.send_refused(**call)
        assert refused.fields == ["payload.name"]
        return

    await service.send(**call)

    mail = await inbox.wait_for_mail()
    written = mail.octets.decode().split("From: ", 1)[1].split("\r\n", 1)[0]
    assert _decoded_name(written) == _decoded_name(vector["expected"])
    assert written.rpartition(" ")[2] == vector["expected"].rpartition(" ")[2]


def _decoded_name(mailbox: str) -> str:
    return str(make_header(decode_header(mailbox.rpartition(" ")[0])))
