"""Django's e-mail backend for smtpconnector: whatever sends with ``django.core.mail`` sends through the service.

Invariant: a message is sent as it is, or refused before the first of its recipients gets it; nothing is left out of it.
"""

from __future__ import annotations

from email.utils import getaddresses
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.mail.backends.base import BaseEmailBackend

from smtpconnector import Client, SmtpConnectorError, Template, UsageType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.mail import EmailMessage

DEFAULT_TIMEOUT_SECONDS = 30.0


class CannotCarry(ValueError):  # noqa: N818 - the name says what happened
    """The message has what the service does not send; nobody was sent anything of it."""


class EmailBackend(BaseEmailBackend):
    """Sends each message as a template of its own, to one recipient after the other.

    ``fail_silently`` silences :class:`CannotCarry` and every error of the client, ``DeliveryUncertain`` among them.
    """

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Send messages; return how many were accepted for all of their recipients.

        Raises:
            CannotCarry: The service does not send such a message.
            SmtpConnectorError: A recipient could not be sent to; those after him were not tried.
        """
        sent = 0
        for message in email_messages:
            try:
                sent += _send(message)
            except (CannotCarry, SmtpConnectorError):
                if not self.fail_silently:
                    raise
        return sent


def _send(message: EmailMessage) -> bool:
    template = _template(message)
    recipients = [_address(recipient) for recipient in message.to]
    client = _client(settings.SMTPCONNECTOR_TARGET, getattr(settings, "SMTPCONNECTOR_TOKEN", None))
    timeout = settings.EMAIL_TIMEOUT or DEFAULT_TIMEOUT_SECONDS
    for done, recipient in enumerate(recipients):
        # No payload: braces that the message itself holds are no placeholders then.
        try:
            client.send_message(recipient, UsageType.GENERIC, template=template, timeout=timeout)
        except SmtpConnectorError as error:
            error.add_note(f"Of {len(recipients)} recipients the first {done} were sent the message.")
            raise
    return bool(recipients)


@cache
def _client(target: str, token: str | None) -> Client:
    # One for the process and all its threads, made with the first mail and so after a server's fork.
    return Client(target, token=token)


def _template(message: EmailMessage) -> Template:
    _refuse("cc", message.cc)
    _refuse("bcc", message.bcc)
    _refuse("attachments", message.attachments)
    _refuse("headers", message.extra_headers)
    _refuse("reply_to beyond the first", message.reply_to[1:])
    alternatives = getattr(message, "alternatives", [])
    if not alternatives:
        if message.content_subtype not in {"plain", "html"}:
            raise CannotCarry("smtpconnector sends bodies of text/plain and text/html only: set content_subtype")
        content, text_content = message.body, ""
        is_html = message.content_subtype == "html"
    else:
        _refuse("alternatives beyond the first", alternatives[1:])
        content, mime_type = alternatives[0]
        if mime_type != "text/html" or message.content_subtype != "plain":
            raise CannotCarry("smtpconnector sends one alternative only: text/html to a body of text/plain")
        text_content, is_html = message.body, True
    return Template(
        subject=str(message.subject),  # it may be a lazy translation
        content=str(content),
        content_type="text/html" if is_html else "text/plain",
        text_content=str(text_content),
        send_from=message.from_email,
        reply_to="".join(message.reply_to),
    )


def _address(recipient: str) -> str:
    found = getaddresses([str(recipient)])
    if len(found) != 1 or not found[0][1]:
        raise CannotCarry("an entry of to is not one address: give each recipient an entry of its own")
    return found[0][1]


def _refuse(what: str, value: object) -> None:
    if value:
        raise CannotCarry(f"smtpconnector does not send {what}: leave it out, or send this message another way")
