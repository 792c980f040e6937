"""A configuration that is ready to send with: all that is the same for every mail is made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpconnector_server.message.mail import Composer
from smtpconnector_server.message.signature import SIGNED, Signer, SigningKey
from smtpconnector_server.message.template import CompiledTemplate, compile_template

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Connector, Dkim


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration with its templates compiled and its constant headers written."""

    connector: Connector
    composer: Composer
    templates: tuple[CompiledTemplate, ...]
    signer: Signer | None
    """None: mails are not signed."""
    profile: str | None
    """The name of the profile whose configuration it is. None: it came with a call."""


def prepare(connector: Connector, profile: str | None) -> Prepared:
    """Return a checked configuration ready to send with."""
    return Prepared(
        connector,
        Composer(connector.from_email, connector.reply_to, connector.custom_headers, otp_origin=connector.otp_origin),
        tuple(compile_template(template) for template in connector.templates),
        _signer(connector.dkim) if connector.dkim is not None else None,
        profile,
    )


def _signer(dkim: Dkim) -> Signer:
    keys = [
        SigningKey(
            domain=key.domain, selector=key.selector, algorithm=key.algorithm, private_key=key.private_key.reveal()
        )
        for key in dkim.keys
    ]
    return Signer(keys, set(dkim.header_names or SIGNED).difference(dkim.skipped_names))
