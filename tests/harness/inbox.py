"""An inbox for tests that want mail and no trouble: aiosmtpd in the test's own loop.

It is a second, independent server: what it understands was not taught to it by the scripted one.
"""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import TYPE_CHECKING, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from aiosmtpd.smtp import Session as SmtpdSession

if TYPE_CHECKING:
    import ssl

    from harness.sasl import Credentials


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    octets: bytes
    """The content with CRLF, dots unstuffed."""

    @property
    def message(self) -> EmailMessage:
        """The content as Python's own parser reads it."""
        return BytesParser(_class=EmailMessage, policy=default).parsebytes(self.octets)


class Inbox:
    """Listens on a free port of 127.0.0.1 while its context is open.

    Args:
        tls: The server's certificate. None: no TLS.
        implicit_tls: TLS begins with the connection; otherwise STARTTLS is offered and required.
        credentials: Who is let in (by PLAIN or LOGIN). None: everybody.
        port: Where to listen. 0: on any free port.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        credentials: Credentials | None = None,
        port: int = 0,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.mails: list[Mail] = []
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._credentials = credentials
        self._unseen: asyncio.Queue[Mail] = asyncio.Queue()
        self._sessions: list[SMTP] = []
        self._server: asyncio.Server

    async def wait_for_mail(self, seconds: float = 10.0) -> Mail:
        """Return the oldest mail that was not returned before, waiting for it if need be.

        Raises:
            TimeoutError: None has come.
        """
        return await asyncio.wait_for(self._unseen.get(), seconds)

    async def handle_DATA(self, server: SMTP, session: SmtpdSession, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Take a mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        mail = Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        self.mails.append(mail)
        self._unseen.put_nowait(mail)
        return "250 2.0.0 Taken"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            self._serve, self.host, self.port, ssl=self._tls if self._implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for session in self._sessions:
            if isinstance(session.transport, asyncio.WriteTransport):
                session.transport.abort()
        await self._server.wait_closed()

    def _serve(self) -> SMTP:
        starttls = None if self._implicit_tls else self._tls
        with warnings.catch_warnings():
            # aiosmtpd warns of AUTH without its own STARTTLS; on loopback and inside implicit TLS it is right.
            warnings.filterwarnings("ignore", "Requiring AUTH while not requiring TLS")
            session = SMTP(
                self,
                hostname="inbox.example.com",
                enable_SMTPUTF8=True,
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_required=self._credentials is not None,
                auth_require_tls=starttls is not None or self._credentials is None,
                authenticator=self._authenticate,
                loop=asyncio.get_running_loop(),
            )
        self._sessions.append(session)
        return session

    def _authenticate(
        self, server: SMTP, session: SmtpdSession, envelope: Envelope, mechanism: str, login: LoginPassword
    ) -> AuthResult:
        expected = self._credentials
        is_right = expected is not None and (login.login, login.password) == (
            expected.user.encode(),
            expected.password.encode(),
        )
        return AuthResult(success=is_right, handled=False)  # aiosmtpd words the refusal
