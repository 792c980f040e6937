"""From a mail that is asked for to one that is ready to go: which template, which values, which server."""

from __future__ import annotations

import asyncio
import time
from dataclasses import field
from typing import TYPE_CHECKING

from smtpconnector_server.config.origin import Origin
from smtpconnector_server.failure import Failure, Reason, Stage, Violation
from smtpconnector_server.message.mail import new_message_id
from smtpconnector_server.message.selection import select_template
from smtpconnector_server.message.template import TemplateError, compile_template
from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Dsn, Server
    from smtpconnector_server.delivery.prepared import Prepared
    from smtpconnector_server.message.address import Address
    from smtpconnector_server.message.mail import Mail
    from smtpconnector_server.message.payload import Payload
    from smtpconnector_server.message.template import CompiledTemplate, Template


@value_object(kw_only=True)
class MailRequest:
    """A mail that somebody asks for."""

    to: Address
    usage_type: str
    payload: Payload = field(repr=False)
    template: Template | None = None
    """The caller's own template. None: the configuration's."""


@value_object(kw_only=True)
class Composed:
    """A mail that is ready to go."""

    mail: Mail
    server: Server
    dsn: Dsn | None
    """The delivery status notifications to ask for."""
    profile: str | None
    """The name of the profile that the server is from. None: its configuration came with the call."""
    usage_type: str
    """Of the template that served."""

    @property
    def origin(self) -> Origin:
        """Whose configuration it is, and so where its mails may go."""
        return Origin.of(self.profile)


async def compose(request: MailRequest, prepared: Prepared, message_id: str | None = None) -> Composed:
    """Return the mail that a request makes with a configuration, signed where the configuration has keys.

    Args:
        request: The request.
        prepared: The configuration.
        message_id: The Message-ID that it had before. None: it gets one of its own.

    Raises:
        Failure: TEMPLATE_NOT_FOUND, or INVALID_REQUEST with all violations.
    """
    template = _template(request, prepared)
    connector = prepared.connector
    sender = connector.from_email.address
    mail = prepared.composer.compose(
        template,
        request.to,
        request.payload,
        date=time.time(),
        message_id=message_id or new_message_id(sender.ascii_domain),
        opaque=connector.server.single_flight,
    )
    if prepared.signer is not None:
        mail = await asyncio.to_thread(prepared.signer.sign, mail)  # milliseconds of CPU, by RSA
    return Composed(
        mail=mail,
        server=connector.server,
        dsn=connector.dsn,
        profile=prepared.profile,
        usage_type=template.usage_type,
    )


def _template(request: MailRequest, prepared: Prepared) -> CompiledTemplate:
    if request.template is None:
        locale = request.payload.get("locale")
        return select_template(prepared.templates, request.usage_type, locale if isinstance(locale, str) else None)
    try:
        return compile_template(request.template)
    except TemplateError as error:
        raise Failure(
            Reason.INVALID_REQUEST,
            "The template that came with the request cannot be used. See the violations.",
            stage=Stage.COMPOSE,
            violations=tuple(Violation(f"template.{fault.field}", fault.description) for fault in error.violations),
        ) from None
