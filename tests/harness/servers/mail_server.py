"""A real mail server as a test sees it: where it listens, whom it lets in, and what it has delivered.

Postfix and Exim are set up alike, so that one test can hold for both: they deliver to :data:`INBOX`, put off
:data:`GREYLISTED`, know no other recipient, and refuse mails with :data:`REFUSED_SUBJECT` after their last octet.
"""

from __future__ import annotations

import asyncio
import smtplib
import uuid
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import TYPE_CHECKING

from harness.sasl import Credentials

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = Credentials()
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
INBOX = "inbox@example.com"
GREYLISTED = "greylisted@example.com"
UNKNOWN = "nobody@example.com"
REFUSED_SUBJECT = "refuse this"
MAX_MESSAGE_SIZE = 1_000_000
_DELIVERY_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A running mail server on 127.0.0.1. Its certificate is of ``harness.certificates``."""

    name: str
    clear_port: int
    """Neither TLS nor AUTH, for everybody."""
    starttls_port: int
    """STARTTLS, then AUTH with :data:`CREDENTIALS`; nothing goes without them."""
    tls_port: int
    """The same with implicit TLS."""
    impatient_port: int
    """Like the clear one, but whoever says nothing for a second is told 421 and left."""
    maildir: Path
    log: Path

    host = "127.0.0.1"

    def delivered(self, subject: str) -> list[EmailMessage]:
        """Return the mails with this subject that have been delivered."""
        parser = BytesParser(_class=EmailMessage, policy=default)
        mails = [parser.parsebytes(file.read_bytes()) for file in self.maildir.glob("new/*")]
        return [mail for mail in mails if mail["Subject"] == subject]

    async def wait_for(self, subject: str, count: int = 1) -> list[EmailMessage]:
        """Return the mails with this subject once there are so many; a mail is delivered after it was accepted.

        Raises:
            TimeoutError: There are fewer.
        """
        async with asyncio.timeout(_DELIVERY_SECONDS):
            while len(mails := self.delivered(subject)) < count:  # noqa: ASYNC110 - no event tells of a delivery
                await asyncio.sleep(0.02)
        return mails

    async def log_so_far(self) -> str:
        """Return the log of all that has happened until now; another process writes it, late but in order."""
        marker = uuid.uuid4().hex
        with smtplib.SMTP(self.host, self.clear_port, local_hostname=marker) as client:
            client.ehlo()
            client.mail(INBOX)
            client.rcpt(UNKNOWN)  # a refusal is logged with the client's name
        async with asyncio.timeout(_DELIVERY_SECONDS):
            while marker not in (log := self.log.read_text()):  # noqa: ASYNC110 - no event tells of a line
                await asyncio.sleep(0.02)
        return log
