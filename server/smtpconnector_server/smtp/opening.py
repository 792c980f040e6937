"""Opens sessions: dials, goes through the dialogue, and hands the connection to the transaction core.

Whatever fails on the way, or whoever gives up, leaves no connection behind. Every step is told as it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpconnector_server.config.model import OAuth2Auth, TlsMode
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.client_name import ClientName
from smtpconnector_server.smtp.dialogue import Dialogue
from smtpconnector_server.smtp.events import tell_nobody
from smtpconnector_server.smtp.level import LevelMemory
from smtpconnector_server.smtp.session import Session

if TYPE_CHECKING:
    import ssl

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.config.secret import Secret
    from smtpconnector_server.smtp.capabilities import Capabilities
    from smtpconnector_server.smtp.dialer import Dialer
    from smtpconnector_server.smtp.dialogue import Sight, StepHook
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.sasl import TokenProvider
    from smtpconnector_server.smtp.transaction import Level


def _ignore_step(_stage: Stage, _sight: Sight) -> None:
    """Tell nobody."""


class Opener:
    """Opens sessions.

    Args:
        dialer: Makes the connections.
        tokens: Where OAuth 2.0 access tokens come from. None: nowhere.
        hook: Told when a server gets a lower level, and what is said where a configuration asks for it.
    """

    def __init__(self, dialer: Dialer, *, tokens: TokenProvider | None = None, hook: WireHook = tell_nobody) -> None:
        self.dialer = dialer
        self._tokens = tokens
        self._hook = hook
        self._levels = LevelMemory()
        self._client_name = ClientName()

    def level(self, server: Server, capabilities: Capabilities) -> Level:
        """Return how many commands a server with these capabilities gets at once at the moment."""
        return self._levels.level(server, capabilities)

    async def open(self, server: Server, *, on_step: StepHook = _ignore_step, authenticate: bool = True) -> Session:
        """Open a session.

        Args:
            server: With which server.
            on_step: Told each step when it is done.
            authenticate: Whether to send AUTH where credentials are configured. False is for a look at the server.

        Raises:
            Failure: At the stage that failed. The connection is aborted then.
        """
        if not (authenticate and isinstance(server.auth, OAuth2Auth)):
            return await self._open(server, None, on_step, authenticate=authenticate)
        if self._tokens is None:
            raise Failure(
                Reason.NOT_IMPLEMENTED,
                "OAuth 2.0 is not available in this server. Use a user name and a password.",
                stage=Stage.AUTH,
                host=server.host,
            )
        token = await self._tokens.token(server.auth, renew=False)
        on_step(Stage.TOKEN, "an access token is there")
        try:
            return await self._open(server, token, on_step)
        except Failure as failure:
            if failure.reason is not Reason.SMTP_AUTH_FAILED:
                raise
            # A token can be revoked before its time. Another one is another attempt, on a connection of its own.
            renewed = await self._tokens.token(server.auth, renew=True)
            if renewed == token:
                raise
        on_step(Stage.TOKEN, "the access token was refused and renewed")
        return await self._open(server, renewed, on_step)

    async def _open(
        self, server: Server, token: Secret | None, on_step: StepHook, *, authenticate: bool = True
    ) -> Session:
        context = await self._tls_context(server)
        dialogue = Dialogue(server, await self.dialer.dial(server, on_step), token, on_step, self._hook)
        try:
            await dialogue.connect(context)
            client_name = server.client_hostname or await self._client_name.for_connection(dialogue.local_address)
            await dialogue.greet()
            await dialogue.ehlo(client_name)
            if dialogue.wants_starttls():
                await dialogue.starttls()
                await dialogue.ehlo(client_name)
            if server.auth is not None:
                dialogue.check_auth()
                if authenticate:
                    await dialogue.auth()
            return Session(
                server,
                dialogue.hand_over(),
                dialogue.capabilities,
                dialogue.redactor,
                self._levels,
                self._hook,
                dialogue.transcript,
            )
        except BaseException:
            dialogue.abort()
            raise

    async def _tls_context(self, server: Server) -> ssl.SSLContext | None:
        if server.tls_mode is TlsMode.DISABLED:
            return None
        try:
            return await self.dialer.contexts.get(server.tls)
        except ValueError as error:
            raise Failure(
                Reason.INVALID_CONFIG, f"The TLS options cannot be used: {error}.", stage=Stage.CONFIG, host=server.host
            ) from error
