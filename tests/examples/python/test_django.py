"""The Django e-mail backend: what is carried, what is refused, and what fail_silently silences."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.service import running_service
from smtpconnector import DeliveryUncertain, RecipientRejected
from smtpconnector.testing import FakeConnector
from smtpconnector.v1 import config_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.examples

EXAMPLE = Path(__file__).parents[3] / "examples" / "django"
SENDER = "Shop <no-reply@shop.example>"
BRACES = "{{ code }}, {{#if code}}{{user.name}}{{/if}} and }} {{"


@pytest.fixture
def connector() -> Iterator[FakeConnector]:
    with FakeConnector() as connector:
        yield connector


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # Imported here: without the examples' environment this file must be read, though not run.
    conf: Any = importlib.import_module("django.conf")
    if not conf.settings.configured:
        conf.settings.configure()
    monkeypatch.syspath_prepend(EXAMPLE)
    override: Any = importlib.import_module("django.test.utils").override_settings
    with override(EMAIL_BACKEND="smtpconnector_email.EmailBackend", DEFAULT_FROM_EMAIL=SENDER):
        yield conf.settings
    importlib.import_module("smtpconnector_email")._client.cache_clear()


@pytest.fixture
def mail(settings: Any, connector: FakeConnector) -> Any:
    settings.SMTPCONNECTOR_TARGET = connector.address
    return importlib.import_module("django.core.mail")


def cannot_carry() -> type[Exception]:
    refusal: type[Exception] = importlib.import_module("smtpconnector_email").CannotCarry
    return refusal


def test_send_mail_sends_text_as_it_is(mail: Any, connector: FakeConnector) -> None:
    assert mail.send_mail("Hello", "Bytes & <tags>", None, ["Ada <ada@example.com>"]) == 1
    (message,) = connector.messages
    assert (message.to, message.type, message.payload) == ("ada@example.com", "Generic", {})
    template = message.request.template
    assert (template.subject, template.content, template.text_content) == ("Hello", "Bytes & <tags>", "")
    assert template.content_type == config_pb2.CONTENT_TYPE_TEXT_PLAIN
    assert template.send_from == SENDER


def test_an_html_alternative_goes_beside_the_text(mail: Any, connector: FakeConnector) -> None:
    message = mail.EmailMultiAlternatives(
        "Hi", "text", "a@shop.example", ["b@example.com"], reply_to=["c@shop.example"]
    )
    message.attach_alternative("<b>html</b>", "text/html")
    assert message.send() == 1
    template = connector.messages[0].request.template
    assert (template.content, template.text_content) == ("<b>html</b>", "text")
    assert template.content_type == config_pb2.CONTENT_TYPE_TEXT_HTML
    assert (template.send_from, template.reply_to) == ("a@shop.example", "c@shop.example")


def test_a_body_may_be_html_alone(mail: Any, connector: FakeConnector) -> None:
    message = mail.EmailMessage("Hi", "<b>html</b>", to=["b@example.com"])
    message.content_subtype = "html"
    message.send()
    template = connector.messages[0].request.template
    assert (template.content, template.content_type) == ("<b>html</b>", config_pb2.CONTENT_TYPE_TEXT_HTML)


def test_recipients_are_sent_to_one_by_one(mail: Any, connector: FakeConnector) -> None:
    assert mail.EmailMessage("Hi", "text", to=["a@example.com", "b@example.com"]).send() == 1
    assert [message.to for message in connector.messages] == ["a@example.com", "b@example.com"]


def test_a_message_without_recipients_is_not_counted(mail: Any, connector: FakeConnector) -> None:
    with mail.get_connection() as connection:
        assert connection.send_messages([mail.EmailMessage("Hi", "text")]) == 0
    assert connector.messages == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cc": ["c@example.com"]}, "cc"),
        ({"bcc": ["c@example.com"]}, "bcc"),
        ({"attachments": [("a.txt", "a", "text/plain")]}, "attachments"),
        ({"headers": {"X-Shop": "1"}}, "headers"),
        ({"reply_to": ["c@example.com", "d@example.com"]}, "reply_to"),
        ({"alternatives": [("{}", "application/json")]}, "alternative"),
        ({"alternatives": [("<b>", "text/html"), ("<i>", "text/html")]}, "alternatives"),
        ({"to": ["a@example.com", "b@example.com, c@example.com"]}, "one address"),
        ({"to": ["a@example.com", " "]}, "one address"),
    ],
)
def test_what_the_service_does_not_send_is_refused_before_anybody_gets_it(
    mail: Any, connector: FakeConnector, fields: dict[str, Any], named: str
) -> None:
    message = mail.EmailMultiAlternatives("Hi", "text", **{"to": ["a@example.com"], **fields})
    with pytest.raises(cannot_carry(), match=named):
        message.send()
    with mail.get_connection(fail_silently=True) as silent:
        assert silent.send_messages([message]) == 0
    assert connector.messages == []


def test_a_body_of_another_type_is_refused(mail: Any, connector: FakeConnector) -> None:
    message = mail.EmailMessage("Hi", "BEGIN:VCALENDAR", to=["a@example.com"])
    message.content_subtype = "calendar"
    with pytest.raises(cannot_carry(), match="content_subtype"):
        message.send()
    assert connector.messages == []


def test_a_failure_is_the_clients_and_says_who_was_sent_the_message(mail: Any, connector: FakeConnector) -> None:
    connector.fail_next("SMTP_RECIPIENT_REJECTED")
    with pytest.raises(RecipientRejected) as raised:
        mail.send_mail("Hi", "text", None, ["a@example.com", "b@example.com"])
    assert raised.value.__notes__ == ["Of 2 recipients the first 0 were sent the message."]
    assert connector.messages == []


def test_an_uncertain_mail_is_told_as_uncertain(mail: Any, connector: FakeConnector) -> None:
    connector.fail_next("DELIVERY_UNCERTAIN")
    with pytest.raises(DeliveryUncertain):
        mail.send_mail("Hi", "text", None, ["a@example.com"])


def test_fail_silently_goes_on_with_the_next_message(mail: Any, connector: FakeConnector) -> None:
    connector.fail_next("SMTP_RECIPIENT_REJECTED")
    messages = [mail.EmailMessage("Hi", "text", to=[to]) for to in ("a@example.com", "b@example.com")]
    with mail.get_connection(fail_silently=True) as connection:
        assert connection.send_messages(messages) == 1
    assert [message.to for message in connector.messages] == ["b@example.com"]


async def test_braces_of_a_message_arrive_as_they_were_written(settings: Any, tmp_path: Path) -> None:
    mail: Any = importlib.import_module("django.core.mail")
    html = f'<p title="{BRACES}">{BRACES}</p>'
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        settings.SMTPCONNECTOR_TARGET = service.address
        accepted = await asyncio.to_thread(
            mail.send_mail, BRACES, BRACES, None, ["Ada <ada@example.com>"], html_message=html
        )
        assert accepted == 1
        arrived = await inbox.wait_for_mail()
    message = arrived.message
    assert arrived.recipients == ("ada@example.com",)
    assert (message["From"], message["Subject"]) == (SENDER, BRACES)
    text, alternative = message.iter_parts()
    assert text.get_content().rstrip("\r\n") == BRACES
    assert alternative.get_content().rstrip("\r\n") == html
