"""A configuration that is ready to send with: all that is the same for every mail is made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpconnector_server.message.mail import Composer
from smtpconnector_server.message.template import CompiledTemplate, compile_template

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Connector


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration with its templates compiled and its constant headers written."""

    connector: Connector
    composer: Composer
    templates: tuple[CompiledTemplate, ...]
    profile: str | None
    """The name of the profile whose configuration it is. None: it came with a call."""


def prepare(connector: Connector, profile: str | None) -> Prepared:
    """Return a checked configuration ready to send with."""
    return Prepared(
        connector,
        Composer(connector.from_email, connector.reply_to, connector.custom_headers, otp_origin=connector.otp_origin),
        tuple(compile_template(template) for template in connector.templates),
        profile,
    )
