"""What an SMTP server answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpconnector.v1.connector_service_pb2 import SmtpReply


@dataclass(frozen=True)
class Reply:
    """An SMTP server's reply (RFC 5321, section 4.2)."""

    code: int
    """Such as 250."""
    enhanced_code: str
    """The enhanced status code (RFC 3463), such as ``2.0.0``. Empty when there is none."""
    text: str
    """The text without codes."""


def reply_from(said: SmtpReply) -> Reply:
    """Read a reply."""
    return Reply(said.code, said.enhanced_code, said.text)
