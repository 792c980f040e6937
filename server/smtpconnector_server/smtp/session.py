"""A session: an open, authenticated connection that sends mails, one after the other.

What :meth:`Session.send` returns or raises is the truth about the mail, as ``failure.Outcome`` spells it out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.events import SteppedDown, TransactionEnded
from smtpconnector_server.smtp.refusal import breakdown, refusal
from smtpconnector_server.smtp.transaction import Accepted, Broken, Level, Refused, Transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.capabilities import Capabilities
    from smtpconnector_server.smtp.envelope import Envelope
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.level import LevelMemory
    from smtpconnector_server.smtp.redaction import Redactor
    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.transaction import Command, End
    from smtpconnector_server.smtp.transcript import Transcript
    from smtpconnector_server.smtp.wire import Wire

_TELLING_CHARACTERS: Final = 4
"""Of a local part that tells who it is; shorter ones are parts of other words."""


class Session:
    """One connection to an SMTP server, for one mail at a time.

    Attributes:
        server: What it is a session with.
        capabilities: What the server said of itself last.
        was_used: It has served an earlier lease, so that the server may have given it up meanwhile. A mail that it
            could not send (NOT_SENT) because of that can be sent on a fresh one at once.
        is_stale: It ended by itself in the middle of a mail, and not because its user gave up.
        messages: Mails tried on it.
    """

    def __init__(
        self,
        server: Server,
        wire: Wire,
        capabilities: Capabilities,
        redactor: Redactor,
        levels: LevelMemory,
        hook: WireHook,
        transcript: Transcript | None = None,
    ) -> None:
        self.server = server
        self.capabilities = capabilities
        self.was_used = False
        self.is_stale = False
        self.messages = 0
        self.wire = wire
        self._redactor = redactor
        self._levels = levels
        self._hook = hook
        self._transcript = transcript
        self._is_dirty = False
        """An earlier transaction has not ended with an accepted mail."""

    @property
    def stage(self) -> Stage:
        """How far the mail that is being sent has come."""
        return self.wire.stage

    @property
    def host(self) -> str:
        """The server's name, as configured."""
        return self.server.host

    @property
    def is_open(self) -> bool:
        """Whether it can send a mail."""
        return self.wire.is_open

    @property
    def level(self) -> Level:
        """How many commands go out at once at the moment."""
        return self._levels.level(self.server, self.capabilities)

    async def send(
        self, envelope: Envelope, message: bytes, *, on_commit: Callable[[], Awaitable[None]] | None = None
    ) -> Reply:
        """Send one mail.

        Args:
            envelope: Who sends and who receives.
            message: The message in canonical form; no dots doubled.
            on_commit: Awaited right before the last octet of the message goes to the kernel. Until it returns, the mail
                is certainly not sent; from then on only the server knows. None: nobody wants to hear it.

        Returns:
            The server's 2yz reply to this message.

        Raises:
            Failure: It was not accepted, or nobody knows.
            ValueError: The message is not in canonical form.
        """
        parameters = self._mail_parameters(envelope, message)
        self.messages += 1
        began, round_trips = time.monotonic(), 0
        while True:
            level = self.level
            # One at a time a RSET costs a round trip: it goes only where there is something to clear.
            reset = self._is_dirty or (level > Level.SERIAL and (self.was_used or self.messages > 1))
            transaction = Transaction(
                envelope,
                message,
                level=level,
                parameters=parameters,
                rcpt_parameters=self._rcpt_parameters(envelope),
                reset=reset,
            )
            self._is_dirty = True
            end = await self._run(transaction, envelope, message, on_commit)
            round_trips += transaction.round_trips
            self._learn(transaction.level, end)
            if isinstance(end, Accepted):
                self._is_dirty = False
                self._tell_end(transaction.level, round_trips, began, None)
                return self._clean(end.reply, envelope)
            if isinstance(end, Refused) and end.blames_level and end.in_sync:
                continue  # refused for the flight and not for the mail: in smaller ones it may pass
            self.is_stale = not self.is_open
            failure = self._failure(end, envelope)
            self._tell_end(transaction.level, round_trips, began, failure)
            raise failure

    async def rehearse(self, envelope: Envelope, on_reply: Callable[[Command, Reply], None]) -> None:
        """Try MAIL and RCPT, then RSET. Never DATA: no mail is sent.

        Args:
            envelope: Who would send and who would receive.
            on_reply: Told each reply as it comes, also that which refuses.

        Raises:
            Failure: The server refused one of them, or the connection broke.
        """
        transaction = Transaction(
            envelope,
            None,
            level=Level.SERIAL,
            parameters=self._mail_parameters(envelope, b""),
            rcpt_parameters=self._rcpt_parameters(envelope),
        )
        transaction.on_reply = lambda command, reply: on_reply(command, self._clean(reply, envelope))
        self._is_dirty = True
        end = await self._run(transaction, envelope, b"")
        if not isinstance(end, Accepted):
            raise self._failure(end, envelope)

    async def _run(
        self,
        transaction: Transaction,
        envelope: Envelope,
        message: bytes,
        on_commit: Callable[[], Awaitable[None]] | None = None,
    ) -> End:
        """Carry a transaction to its end, and have it written down where the configuration asks for it."""
        transcript, tell_reply = self._transcript, transaction.on_reply
        if transcript is None:
            return await self.wire.run(transaction, on_commit)
        parameters = self._mail_parameters(envelope, message), self._rcpt_parameters(envelope)

        def on_reply(command: Command, reply: Reply) -> None:
            transcript.reply(command, self._clean(reply, envelope))
            tell_reply(command, reply)

        transaction.on_command = lambda command: transcript.command(
            command, transaction.level, parameters, len(message)
        )
        transaction.on_reply = on_reply
        end = await self.wire.run(transaction, on_commit)
        if isinstance(end, Broken):
            transcript.breakdown(end.detail)
        return end

    def _mail_parameters(self, envelope: Envelope, message: bytes) -> str:
        """Return the parameters of MAIL, or say that the server cannot take this mail at all."""
        offered = self.capabilities
        has_utf8 = envelope.needs_smtputf8
        needs_8bit = has_utf8 or not message.isascii()
        if (has_utf8 and not offered.smtputf8) or (needs_8bit and not (offered.eight_bit_mime or offered.smtputf8)):
            raise Failure(
                Reason.SMTP_SMTPUTF8_UNSUPPORTED,
                f"An address is not ASCII and {self.host} does not offer SMTPUTF8. Use an ASCII address.",
                stage=Stage.MAIL,
                host=self.host,
            )
        if offered.max_message_size and len(message) > offered.max_message_size:
            raise Failure(
                Reason.SMTP_MESSAGE_TOO_LARGE,
                f"The message has {len(message)} octets and {self.host} accepts {offered.max_message_size}.",
                stage=Stage.MAIL,
                host=self.host,
            )
        size = f" SIZE={len(message)}" if offered.size and message else ""
        dsn = envelope.dsn_of_mail if offered.dsn else ""
        return size + (" BODY=8BITMIME" if needs_8bit else "") + (" SMTPUTF8" if has_utf8 else "") + dsn

    def _rcpt_parameters(self, envelope: Envelope) -> str:
        return envelope.dsn_of_rcpt if self.capabilities.dsn else ""

    def _learn(self, level: Level, end: End) -> None:
        lowered = self._levels.learn(self.server, level, end)
        if lowered is not None:
            why = end.detail if isinstance(end, Broken) else "did not understand a flight of commands"
            self._hook(SteppedDown(self.host, self.server.port, level, lowered, why))

    def _tell_end(self, level: Level, round_trips: int, began: float, failure: Failure | None) -> None:
        seconds = time.monotonic() - began
        self._hook(TransactionEnded(self.host, self.server.port, level, round_trips, seconds, failure))

    def _failure(self, end: Refused | Broken, envelope: Envelope) -> Failure:
        if isinstance(end, Broken):
            return breakdown(end, host=self.host)
        return refusal(end.command.stage, self._clean(end.reply, envelope), host=self.host)

    def _clean(self, reply: Reply, envelope: Envelope) -> Reply:
        local = envelope.recipient.rpartition("@")[0]  # servers write the rest as =40domain, =domain and worse
        telling = (local,) if len(local) >= _TELLING_CHARACTERS else ()
        return self._redactor.clean(reply, envelope.sender, envelope.recipient, *telling)
