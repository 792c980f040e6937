"""Mails of ours to a real server: the configuration that reaches it, a mail, and sending it through a pool."""

from __future__ import annotations

import uuid
from base64 import encodebytes
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from harness.certificates import ca_pem
from harness.servers.mail_server import CREDENTIALS, INBOX, MailServer
from smtpconnector_server.config.model import LoginAuth, LoginMechanism, Server, Timeouts, TlsMode, TlsOptions
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.smtp.envelope import Envelope

if TYPE_CHECKING:
    from smtpconnector_server.smtp.pool import SessionPool
    from smtpconnector_server.smtp.reply import Reply

SENDER = "sender@example.com"
TIMEOUTS = Timeouts(dns=20, connection=20, greeting=20, socket=20)
"""Longer than any hiccup of the machine."""


class Access(Enum):
    """How a mail server is reached."""

    CLEAR = TlsMode.DISABLED
    """Without TLS and without AUTH."""
    STARTTLS = TlsMode.STARTTLS_REQUIRED
    IMPLICIT_TLS = TlsMode.IMPLICIT

    def port(self, server: MailServer) -> int:
        """Return where the server listens for it."""
        ports = {
            Access.CLEAR: server.clear_port,
            Access.STARTTLS: server.starttls_port,
            Access.IMPLICIT_TLS: server.tls_port,
        }
        return ports[self]


def login(password: str = CREDENTIALS.password, mechanism: str | None = None) -> LoginAuth:
    """Return credentials that the mail servers let in, unless the password is wrong."""
    return LoginAuth(
        user=CREDENTIALS.user,
        password=Secret(password),
        mechanism=None if mechanism is None else LoginMechanism(mechanism),
    )


def configuration(port: int, access: Access, *, single_flight: bool = False) -> Server:
    """Return the right configuration for a port."""
    return Server(
        host="127.0.0.1",
        port=port,
        tls_mode=access.value,
        tls=TlsOptions(ca_pem=ca_pem()),
        auth=None if access is Access.CLEAR else login(),
        client_hostname="client.example.com",
        timeouts=TIMEOUTS,
        single_flight=single_flight,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail that is told from all others by its subject."""

    subject: str = field(default_factory=lambda: uuid.uuid4().hex)
    recipient: str = INBOX
    text: str = "Your code is 123456."
    is_encoded: bool = True
    """Whether the text goes in base64, as in the mails that we compose, or as it is."""

    @property
    def octets(self) -> bytes:
        """The message in canonical form."""
        fields = {
            "From": SENDER,
            "To": self.recipient,
            "Subject": self.subject,
            "MIME-Version": "1.0",
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Transfer-Encoding": "base64" if self.is_encoded else "8bit",
        }
        header = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        text = self.text.encode()
        return header.encode() + b"\r\n" + (encodebytes(text).replace(b"\n", b"\r\n") if self.is_encoded else text)

    async def send(self, pool: SessionPool, server: Server) -> Reply:
        """Send it.

        Raises:
            Failure: It was not accepted.
        """
        envelope = Envelope(sender=SENDER, recipient=self.recipient)
        async with pool.session(server) as session:
            return await session.send(envelope, self.octets)
