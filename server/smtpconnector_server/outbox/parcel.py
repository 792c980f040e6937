"""A composed mail as octets to be sealed, and back: the same octets and envelope in every attempt.

The server to send it by is not in it but looked up anew each time, so that a profile whose password was corrected
serves the mails that wait for it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from smtpconnector_server.config.source import Source
from smtpconnector_server.delivery.composition import Composed
from smtpconnector_server.message.mail import Mail

if TYPE_CHECKING:
    from smtpconnector_server.delivery.prepared import Prepared


def pack(composed: Composed, source: Source) -> bytes:
    """Return a mail and where its configuration comes from as octets."""
    mail = composed.mail
    head = {
        "sender": mail.sender,
        "recipient": mail.recipient,
        "message_id": mail.message_id,
        "needs_smtputf8": mail.needs_smtputf8,
        "opaque": mail.opaque,
        "usage_type": composed.usage_type,
        "source": source.to_json(),
    }
    return json.dumps(head).encode() + b"\n" + mail.octets


class Parcel:
    """What :func:`pack` made, taken out of its seal."""

    def __init__(self, octets: bytes) -> None:
        head, _, self._octets = octets.partition(b"\n")
        self._head = json.loads(head)
        self.source = Source.from_json(self._head["source"])

    def __repr__(self) -> str:
        return f"Parcel({self.source!r})"

    def addressed(self, prepared: Prepared) -> Composed:
        """Return the mail, to be sent by a configuration as it is now."""
        head = self._head
        server = prepared.connector.server
        if server.single_flight and not head["opaque"]:
            # The profile learnt it after the mail was made, whose lines could be read as commands.
            server = dataclasses.replace(server, single_flight=False)
        return Composed(
            mail=Mail(
                sender=head["sender"],
                recipient=head["recipient"],
                message_id=head["message_id"],
                needs_smtputf8=head["needs_smtputf8"],
                opaque=head["opaque"],
                octets=self._octets,
            ),
            server=server,
            dsn=prepared.connector.dsn,
            profile=prepared.profile,
            usage_type=head["usage_type"],
        )
