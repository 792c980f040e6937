"""aiosmtplib's protocol behind our strict reader.

aiosmtplib 5.1.3 takes ``+25`` and ``2_5`` for codes and a bare LF for a line end, leaves a second reply in its buffer
for the next command, and drops what comes unasked, plaintext behind the reply to STARTTLS included. That is how replies
get attributed to the wrong command and how an attacker speaks into a TLS session (NO STARTTLS, 2021). So each reply is
checked here first, handed on only when it is exactly the one that is due, and anything else aborts the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from aiosmtplib.errors import SMTPReadTimeoutError
from aiosmtplib.protocol import SMTPProtocol

from smtpconnector_server.smtp.reader import ProtocolViolation, ReplyReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiosmtplib.response import SMTPResponse

    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.transcript import Transcript


class StrictProtocol(SMTPProtocol):
    """The protocol of a connection until the log-in is done.

    Attributes:
        violation: What the server did wrong. The connection is aborted then.
        last_reply: The last complete reply.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.violation: ProtocolViolation | None = None
        self.last_reply: Reply | None = None
        self.on_reply: Callable[[Reply], None] = lambda _reply: None
        """Told each positive reply as it comes."""
        self.transcript: Transcript | None = None
        """Told all that is said."""
        self._reader = ReplyReader()
        self._raw = b""
        """Of the reply that is being read."""
        self._is_due = True
        """A reply is; the first is the greeting."""

    def write(self, data: bytes) -> None:
        """Send a command."""
        self._is_due = True
        if self.transcript is not None:
            self.transcript.write(data)
        super().write(data)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109 - as it is there
        """Read a reply.

        aiosmtplib waits by ``asyncio.wait_for``, which before Python 3.12 forgets a cancellation that comes together
        with the reply: a deadline around it would not hold.

        Raises:
            SMTPReadTimeoutError: It took longer than ``timeout`` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                return await super().read_response(timeout=None)
        except TimeoutError as error:
            raise SMTPReadTimeoutError("Timed out waiting for server response") from error

    def data_received(self, data: bytes) -> None:
        """Take octets of the server, and hand on a reply when it is whole."""
        if self.violation is not None:
            return
        self._raw += data
        try:
            replies = self._reader.feed(data)
        except ProtocolViolation as violation:
            self._break_off(violation)
            return
        if not self._is_due:
            self._break_off(ProtocolViolation("octets that no command asked for"))
        elif len(replies) > 1 or (replies and self._reader.begun_with):
            self._break_off(ProtocolViolation("more than the reply that was due"))
        elif replies:
            self.last_reply = replies[0]
            self._is_due = False
            if self.transcript is not None:
                self.transcript.read(self.last_reply)
            if self.last_reply.is_positive:
                self.on_reply(self.last_reply)
            raw, self._raw = self._raw, b""
            super().data_received(raw)

    def _break_off(self, violation: ProtocolViolation) -> None:
        self.violation = violation
        cast("asyncio.WriteTransport", self.transport).abort()
