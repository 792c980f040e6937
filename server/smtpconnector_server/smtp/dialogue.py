"""What is said on a connection before the first mail: greeting, EHLO, STARTTLS and AUTH.

aiosmtplib carries it, behind our strict reader; what the server said before TLS is forgotten after it, no credential
goes where TLS was wanted and is not, and one mechanism is tried once.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import aiosmtplib

from smtpconnector_server.config.model import LoginAuth, OAuth2Auth, TlsMode
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.handshake import TLS_RECORDS, handshake_failure, speaks_tls
from smtpconnector_server.smtp.redaction import Redactor
from smtpconnector_server.smtp.refusal import refusal
from smtpconnector_server.smtp.sasl import BadChallengeError, choose_mechanism, login_exchange, token_exchange
from smtpconnector_server.smtp.strict_protocol import StrictProtocol
from smtpconnector_server.smtp.transcript import Transcript
from smtpconnector_server.smtp.wire import Wire

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.config.secret import Secret
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.sasl import Exchange

Sight: TypeAlias = "str | Capabilities | ssl.SSLObject"
"""What was seen at a step: capabilities at EHLO, the TLS object at TLS, words elsewhere."""

StepHook: TypeAlias = "Callable[[Stage, Sight], None]"
"""Told each step when it is done, with what was seen: RESOLVE, CONNECT, TLS, GREETING, EHLO, STARTTLS, TOKEN, AUTH."""

_IMPLICIT_TLS_PORT: Final = 465
_READY: Final = 220


class Dialogue:
    """What is said on one connection before the first mail, step by step, each told when it is done.

    Args:
        server: The server.
        connected: The socket. It belongs to the dialogue.
        token: The access token, where the credentials are for one.
        on_step: Told each step.
        hook: Told what is said, where the configuration asks for it.
    """

    def __init__(
        self, server: Server, connected: socket.socket, token: Secret | None, on_step: StepHook, hook: WireHook
    ) -> None:
        self.capabilities = Capabilities()
        self.redactor = _redactor(server, token)
        self.local_address = str(connected.getsockname()[0])
        self._server = server
        self._token = token
        self._on_step = on_step
        self._socket = connected
        self._protocol = StrictProtocol(asyncio.get_running_loop())
        self.transcript = Transcript(server, self.redactor, hook) if server.transcript else None
        self._protocol.transcript = self.transcript
        self._tls_name = server.tls.server_name or server.host
        self._smtp = aiosmtplib.SMTP(hostname=self._tls_name, timeout=server.timeouts.socket)
        self._transports: list[asyncio.Transport] = []

    async def connect(self, context: ssl.SSLContext | None) -> None:
        """Make a transport of the socket, with TLS at once where it is implicit."""
        loop = asyncio.get_running_loop()
        is_implicit = self._server.tls_mode is TlsMode.IMPLICIT
        self._smtp.tls_context = context
        try:
            transport, _ = await loop.create_connection(
                lambda: self._protocol,
                sock=self._socket,
                ssl=context if is_implicit else None,
                server_hostname=self._tls_name if is_implicit else None,
                ssl_handshake_timeout=self._server.timeouts.connection if is_implicit else None,
            )
        except (OSError, TimeoutError) as error:
            raise handshake_failure(error, self._server, Stage.TLS) from error
        finally:
            if not isinstance(loop, asyncio.BaseEventLoop):
                # uvloop closes the descriptor itself, and does not tell the socket if the connection breaks in this
                # very moment: the socket would close it once more, and it may be somebody else's by then.
                self._socket.detach()
        self._transports.append(transport)
        # What SMTP.connect() does, which knows no other protocol class than its own.
        self._smtp.protocol = self._protocol
        self._smtp.transport = transport
        if is_implicit:
            self._on_step(Stage.TLS, transport.get_extra_info("ssl_object"))

    async def greet(self) -> None:
        """Read the greeting."""
        with self._at(Stage.GREETING):
            await self._protocol.read_response(timeout=self._server.timeouts.greeting)
        reply = self._reply()
        if not reply.is_positive:
            raise self._refusal(Stage.GREETING)
        self._on_step(Stage.GREETING, f"{reply.codes} {reply.text}")

    async def ehlo(self, client_name: str) -> None:
        """Say EHLO, or HELO to a server that knows no EHLO and need not."""
        needs_extensions = self._server.auth is not None or self._server.tls_mode is TlsMode.STARTTLS_REQUIRED
        ssl_object = self._ssl_object()
        tls_version = (ssl_object.version() or "") if ssl_object else ""
        with self._at(Stage.EHLO):
            try:
                said = await self._smtp.ehlo(hostname=client_name)
                lines = said.message.split("\n")[1:]
            except aiosmtplib.SMTPHeloError:
                if not self._reply().is_permanent or needs_extensions:
                    raise
                await self._smtp.helo(hostname=client_name)
                lines = []
        self.capabilities = Capabilities.from_ehlo(lines, tls_version=tls_version)
        self._on_step(Stage.EHLO, self.capabilities)

    def wants_starttls(self) -> bool:
        """Tell whether STARTTLS is next.

        Raises:
            Failure: It would have to be, and is not offered.
        """
        server = self._server
        if server.tls_mode in {TlsMode.IMPLICIT, TlsMode.DISABLED}:
            return False
        if self.capabilities.starttls:
            return True
        if server.tls_mode is TlsMode.STARTTLS_REQUIRED:
            raise Failure(
                Reason.SMTP_TLS_REQUIRED,
                f"{server.host} does not offer STARTTLS on port {server.port}, and TLS is required. Use the port for"
                " submission, mostly 587 or 465; or somebody between it and this server takes the offer away.",
                stage=Stage.STARTTLS,
                host=server.host,
            )
        if server.auth is not None:
            raise Failure(
                Reason.SMTP_TLS_REQUIRED_FOR_AUTH,
                f"{server.host} does not offer STARTTLS on port {server.port}, and credentials do not go in the clear."
                " Use a port with TLS, mostly 587 or 465, or switch TLS off explicitly.",
                stage=Stage.STARTTLS,
                host=server.host,
            )
        return False

    async def starttls(self) -> None:
        """Start TLS. All that was said before is forgotten (RFC 3207, section 4.2)."""
        self.capabilities = Capabilities()
        self._protocol.on_reply = lambda reply: self._on_step(Stage.STARTTLS, f"{reply.codes} {reply.text}")
        try:
            with self._at(Stage.STARTTLS):
                await self._smtp.starttls(server_hostname=self._tls_name, timeout=self._server.timeouts.connection)
        finally:
            self._protocol.on_reply = lambda _reply: None
            if self._smtp.transport is not None:
                self._transports.append(cast("asyncio.Transport", self._smtp.transport))
        self._on_step(Stage.TLS, cast("ssl.SSLObject", self._ssl_object()))

    def check_auth(self) -> None:
        """Find out whether the credentials fit what the server offers.

        Raises:
            Failure: They do not.
        """
        if self._server.auth is not None:
            choose_mechanism(self._server.auth, self.capabilities.auth_mechanisms, host=self._server.host)

    async def auth(self) -> None:
        """Authenticate, by one mechanism, once."""
        exchange = self._exchange()
        with self._at(Stage.AUTH):
            said = await self._smtp.execute_command(exchange.command())
            while self._reply().is_intermediate:
                answer = exchange.answer(said.message)
                self.redactor.learn(exchange.proof)
                said = await self._smtp.execute_command(answer)
        if not self._reply().is_positive:
            raise self._refusal(Stage.AUTH)
        self._on_step(Stage.AUTH, exchange.name)

    def hand_over(self) -> Wire:
        """End this dialogue and let the transaction core have the connection."""
        transport = self._smtp.transport
        with self._at(Stage.EHLO if self._server.auth is None else Stage.AUTH):
            if self._protocol.violation is not None or transport is None or transport.is_closing():
                raise aiosmtplib.SMTPServerDisconnected("lost before it could be used")
        return Wire(cast("asyncio.Transport", transport), reply_seconds=self._server.timeouts.socket)

    def abort(self) -> None:
        """Close the connection at once, without QUIT."""
        for transport in self._transports:
            transport.abort()
        if not self._transports and self._protocol.transport is None:
            self._socket.close()

    def _exchange(self) -> Exchange:
        server, offered = self._server, self.capabilities.auth_mechanisms
        if isinstance(server.auth, OAuth2Auth) and self._token is not None:
            return token_exchange(server.auth, self._token, offered, host=server.host, port=server.port)
        return login_exchange(cast("LoginAuth", server.auth), offered, host=server.host)

    def _ssl_object(self) -> ssl.SSLObject | None:
        transport = self._smtp.transport
        return None if transport is None else transport.get_extra_info("ssl_object")

    def _reply(self) -> Reply:
        """The last reply; there is one wherever this is asked."""
        return cast("Reply", self._protocol.last_reply)

    def _refusal(self, stage: Stage) -> Failure:
        reply = self.redactor.clean(self._reply())
        if reply.is_positive or reply.is_intermediate:
            return self._protocol_error(stage, f"answered {reply.code}")
        return refusal(stage, reply, host=self._server.host)

    @contextmanager
    def _at(self, stage: Stage) -> Iterator[None]:
        """Translate what aiosmtplib raises at a stage."""
        host = self._server.host
        try:
            yield
        except aiosmtplib.SMTPResponseException as error:
            raise self._refusal(stage) from error
        except BadChallengeError as error:
            raise self._protocol_error(stage, f"sent {error}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            violation = self._protocol.violation
            if violation is not None:
                if stage is Stage.GREETING and violation.first_octet in TLS_RECORDS:
                    raise speaks_tls(self._server) from error
                raise self._protocol_error(stage, f"sent {violation.detail}") from error
            if stage is Stage.STARTTLS and self._has_agreed_to_tls():
                raise handshake_failure(error, self._server, stage) from error
            if isinstance(error, TimeoutError):
                raise self._silence(stage) from error
            raise Failure(
                Reason.SMTP_CONNECTION_LOST,
                f"{host} closed the connection at {stage}. Try again.",
                stage=stage,
                host=host,
            ) from error

    def _has_agreed_to_tls(self) -> bool:
        """Whether the reply to STARTTLS is there; the last one before it was to EHLO."""
        return self._reply().code == _READY

    def _silence(self, stage: Stage) -> Failure:
        server = self._server
        if stage is not Stage.GREETING:
            return Failure(
                Reason.SMTP_CONNECTION_LOST,
                f"{server.host} did not answer at {stage} within {server.timeouts.socket:g} s. Try again later.",
                stage=stage,
                host=server.host,
            )
        hint = ""
        if server.port == _IMPLICIT_TLS_PORT and server.tls_mode is not TlsMode.IMPLICIT:
            hint = " Port 465 expects TLS from the first octet: use implicit TLS (secure: true)."
        return Failure(
            Reason.SMTP_GREETING_TIMEOUT,
            f"{server.host} accepted the connection on port {server.port} and sent no greeting within"
            f" {server.timeouts.greeting:g} s.{hint}",
            stage=stage,
            host=server.host,
        )

    def _protocol_error(self, stage: Stage, what: str) -> Failure:
        return Failure(
            Reason.SMTP_PROTOCOL_ERROR,
            f"{self._server.host} {what} at {stage}, which breaks the protocol (RFC 5321).",
            stage=stage,
            host=self._server.host,
        )


def _redactor(server: Server, token: Secret | None) -> Redactor:
    auth = server.auth
    secrets = [token.reveal()] if token is not None else []
    if isinstance(auth, LoginAuth):
        secrets.append(auth.password.reveal())
    return Redactor(*secrets, names=(auth.user,) if auth is not None else ())
