"""A session: an open, authenticated connection that sends mails, one after the other.

What :meth:`Session.send` returns or raises is the truth about the mail, as ``failure.Outcome`` spells it out.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

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


@dataclass(slots=True)
class _Mail:
    """A mail that is being sent."""

    envelope: Envelope
    message: bytes
    parameters: tuple[str, str]
    """Of MAIL and of RCPT."""
    transaction: Transaction
    """The one that it is in: another one where the server steps down."""
    began: float
    round_trips: int = 0
    """Of earlier transactions."""


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
        self._mail: _Mail | None = None
        """The one that is being sent."""
        self._is_dirty = False
        """An earlier transaction has not ended with an accepted mail."""

    @property
    def stage(self) -> Stage:
        """How far the mail that was begun has come."""
        return Stage.MAIL if self._mail is None else self._mail.transaction.stage

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
        self.begin(envelope, message)
        try:
            return await self.finish(on_commit)
        except asyncio.CancelledError:
            self.wire.abort("interrupted")
            raise

    def begin(self, envelope: Envelope, message: bytes) -> None:
        """Take a mail. Nothing of it goes out before :meth:`finish`.

        Raises:
            Failure: The server cannot take this mail at all.
            ValueError: The message is not in canonical form.
        """
        parameters = self._mail_parameters(envelope, message), self._rcpt_parameters(envelope)
        self.messages += 1
        transaction = self._transaction(envelope, message, parameters)
        self._mail = _Mail(envelope, message, parameters, transaction, time.monotonic())

    async def finish(self, on_commit: Callable[[], Awaitable[None]] | None = None) -> Reply:
        """Send the mail that was begun, and wait for the server's word on it.

        Cancelled before the commit, the connection is aborted. Cancelled after it, this can be called once more and
        goes on waiting.

        Args:
            on_commit: As for :meth:`send`.

        Returns:
            As :meth:`send`.

        Raises:
            Failure: As :meth:`send`.
        """
        mail = cast("_Mail", self._mail)
        while True:
            transaction = mail.transaction
            end = await self._run(transaction, on_commit)
            mail.round_trips += transaction.round_trips
            self._learn(transaction.level, end)
            if isinstance(end, Refused) and end.blames_level and end.in_sync:
                # Refused for the flight and not for the mail: in smaller ones it may pass.
                mail.transaction = self._transaction(mail.envelope, mail.message, mail.parameters)
                continue
            self._mail = None
            failure = None
            if isinstance(end, Accepted):
                self._is_dirty = False
            else:
                self.is_stale = not self.is_open
                failure = self._failure(end, mail.envelope)
            seconds = time.monotonic() - mail.began
            self._hook(
                TransactionEnded(self.host, self.server.port, transaction.level, mail.round_trips, seconds, failure)
            )
            if failure is not None:
                raise failure
            return self._clean(cast("Accepted", end).reply, mail.envelope)

    @property
    def is_committed(self) -> bool:
        """Whether the last octet of the mail that was begun may have left, and its outcome is not known yet."""
        return self._mail is not None and self._mail.transaction.is_committed

    async def rehearse(self, envelope: Envelope, on_reply: Callable[[Command, Reply], None]) -> None:
        """Try MAIL and RCPT, then RSET. Never DATA: no mail is sent.

        Args:
            envelope: Who would send and who would receive.
            on_reply: Told each reply as it comes, also that which refuses.

        Raises:
            Failure: The server refused one of them, or the connection broke.
        """
        parameters = self._mail_parameters(envelope, b""), self._rcpt_parameters(envelope)
        transaction = self._transaction(envelope, None, parameters)
        write_down = transaction.on_reply

        def tell_reply(command: Command, reply: Reply) -> None:
            if write_down is not None:
                write_down(command, reply)
            on_reply(command, self._clean(reply, envelope))

        transaction.on_reply = tell_reply
        end = await self._run(transaction)
        if not isinstance(end, Accepted):
            raise self._failure(end, envelope)

    def _transaction(self, envelope: Envelope, message: bytes | None, parameters: tuple[str, str]) -> Transaction:
        """Return the next transaction, which is written down where the configuration asks for it."""
        of_mail, of_rcpt = parameters
        level = Level.SERIAL if message is None else self.level
        # One at a time a RSET costs a round trip: it goes only where there is something to clear.
        reset = message is not None and (
            self._is_dirty or (level > Level.SERIAL and (self.was_used or self.messages > 1))
        )
        transaction = Transaction(
            envelope, message, level=level, parameters=of_mail, rcpt_parameters=of_rcpt, reset=reset
        )
        self._is_dirty = True
        transcript = self._transcript
        if transcript is not None:
            size = len(message or b"")
            transaction.on_command = lambda command: transcript.command(command, transaction.level, parameters, size)
            transaction.on_reply = lambda command, reply: transcript.reply(command, self._clean(reply, envelope))
        return transaction

    async def _run(self, transaction: Transaction, on_commit: Callable[[], Awaitable[None]] | None = None) -> End:
        end = await self.wire.run(transaction, on_commit)
        if self._transcript is not None and isinstance(end, Broken):
            self._transcript.breakdown(end.detail)
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

    def _failure(self, end: Refused | Broken, envelope: Envelope) -> Failure:
        if isinstance(end, Broken):
            return breakdown(end, host=self.host)
        return refusal(end.command.stage, self._clean(end.reply, envelope), host=self.host)

    def _clean(self, reply: Reply, envelope: Envelope) -> Reply:
        local = envelope.recipient.rpartition("@")[0]  # servers write the rest as =40domain, =domain and worse
        telling = (local,) if len(local) >= _TELLING_CHARACTERS else ()
        return self._redactor.clean(reply, envelope.sender, envelope.recipient, *telling)
