"""Lends sessions: for now each lease opens one and closes it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from smtpconnector_server.smtp.events import tell_nobody
from smtpconnector_server.smtp.opening import Opener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.dialer import Dialer
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.sasl import TokenProvider
    from smtpconnector_server.smtp.session import Session


class SessionPool:
    """Lends sessions.

    Args:
        dialer: Makes the connections.
        tokens: Where OAuth 2.0 access tokens come from.
        hook: Told what happens on the wire.
    """

    def __init__(self, *, dialer: Dialer, tokens: TokenProvider | None = None, hook: WireHook = tell_nobody) -> None:
        self._opener = Opener(dialer, tokens=tokens, hook=hook)

    @asynccontextmanager
    async def session(self, server: Server) -> AsyncIterator[Session]:
        """Lend a session for the length of a context.

        Raises:
            Failure: None could be opened.
        """
        session = await self._opener.open(server)
        try:
            yield session
        except BaseException:
            session.wire.abort("interrupted")
            raise
        session.wire.quit("done")

    async def close(self, grace: float) -> None:
        """Close all sessions.

        Args:
            grace: Seconds for those that are lent.
        """
