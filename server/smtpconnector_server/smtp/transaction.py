"""One mail transaction without I/O: replies in, octets out, and at the end what is true of the mail.

Commands go out in flights (the groups of RFC 2920), and replies are matched to them by counting, never by what they
say. Octets that no command asked for break the transaction, whatever they claim. A mail is accepted only by a 2yz reply
to this very message; once its last octet is handed out, whatever breaks leaves the outcome unknown.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from smtpconnector_server.failure import Stage
from smtpconnector_server.smtp.reader import ProtocolViolation, ReplyReader
from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.smtp.envelope import Envelope
    from smtpconnector_server.smtp.reply import Reply

CHUNK: Final = 64 * 1024
"""Octets handed out at once. While the last chunk is held back, the message has not left."""
_MAX_SINGLE_FLIGHT: Final = CHUNK - 2048
"""Octets of a message that go in one write with its commands."""
_CLOSING: Final = 421
_TIMED_OUT: Final = "4.4.2"
"""What some servers say, unasked, when they close an idle connection."""
_RSET: Final = b"RSET\r\n"
_NOT_UNDERSTOOD: Final = frozenset({500, 502, 503})
"""Refusals of a command that was fine: the server lost its place in the flight."""

_COMMAND_LINE: Final = re.compile(
    rb"^[ \t]*+(?:[A-Za-z][^\s:]*+[ \t]"
    rb"|(?:AUTH|BDAT|DATA|EHLO|ETRN|EXPN|HELO|HELP|LHLO|MAIL|NOOP|QUIT|RCPT|RSET|STARTTLS|TURN|VRFY)\r?$)",
    re.IGNORECASE | re.MULTILINE,
)
"""A line that could be taken for a command: a word and a space, or a bare verb, which base64 can spell by chance. The
first word of a header field ends with a colon."""


class Level(IntEnum):
    """How many commands go out before their replies are read. The higher, the fewer round trips."""

    SERIAL = 1
    """One. Four round trips a mail; every server can."""
    PIPELINING = 2
    """All that come before the message. Two round trips (RFC 2920)."""
    SINGLE_FLIGHT = 3
    """All, and the message by BDAT (RFC 3030). One round trip."""


class Command(Enum):
    """What a reply is the reply to."""

    RSET = "RSET"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    MESSAGE = "MESSAGE"
    """The end of the message, or BDAT with the message."""

    @property
    def stage(self) -> Stage:
        """How far a mail came that ended here."""
        return Stage.POOL if self is Command.RSET else Stage[self.name]  # it tries the pooled connection


class Fault(Enum):
    """What broke a transaction."""

    IRREGULAR = "irregular"
    """The server broke the protocol."""
    SILENT = "silent"
    """The server did not answer, or did not read, in time."""
    LOST = "lost"
    """The connection was closed or broke."""


@value_object()
class Accepted:
    """The server took responsibility for the mail."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Refused:
    """The server said no, definitely: the mail cannot arrive."""

    command: Command
    reply: Reply
    in_sync: bool
    """Every reply was read and the server waits for a command: after RSET the connection can serve again."""
    blames_level: bool = False
    """It was the flight, not the command, that the server did not understand."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection must be aborted."""

    fault: Fault
    stage: Stage
    detail: str
    """A clause in words of ours that follows "the server", such as "closed the connection"."""
    is_committed: bool
    """The last octet of the message had been handed out: the outcome is unknown."""
    blames_level: bool
    """The server may be one that does not cope with several commands at once."""


End: TypeAlias = Accepted | Refused | Broken


@value_object()
class _Flight:
    """Octets that go out together, and the commands in them that will be replied to."""

    commands: tuple[Command, ...]
    octets: bytes
    commits: bool = False
    """Whether the end of the message is among them."""


class Transaction:
    """A mail, or its envelope alone, on one connection.

    Write what :meth:`next_octets` hands out, give what arrives to :meth:`receive`, until there is an :attr:`end`.

    Args:
        envelope: Who sends and who receives.
        message: The message in canonical form: every line ends with CRLF, there is no other CR or LF and no NUL.
            None: the envelope is only tried, then reset.
        level: The highest to use.
        parameters: Of MAIL: empty, or beginning with a space.
        rcpt_parameters: Of RCPT, likewise.
        reset: Whether RSET goes first. It clears what an earlier transaction left, and it meets a closing server before
            MAIL does.

    Raises:
        ValueError: The message is not in canonical form.
    """

    def __init__(
        self,
        envelope: Envelope,
        message: bytes | None,
        *,
        level: Level,
        parameters: str = "",
        rcpt_parameters: str = "",
        reset: bool = False,
    ) -> None:
        self.level = level
        if message is None:
            self.level = Level.SERIAL
        elif not _is_canonical(message):
            raise ValueError(
                "a message goes out only if every line of it ends with CRLF and nothing else is CR, LF or NUL"
            )
        elif level is Level.SINGLE_FLIGHT and not can_fly_single(message):
            self.level = Level.PIPELINING
        self.end: End | None = None
        self.is_committed = False
        self.round_trips = 0
        """Flights begun: each waits for its replies."""
        self.replies: list[tuple[Command, Reply]] = []
        self.on_command: Callable[[Command], None] | None = None
        """Told each command as it goes out."""
        self.on_reply: Callable[[Command, Reply], None] | None = None
        """Told each reply to a command as it comes."""
        mail, rcpt = envelope.mail_command(parameters), envelope.rcpt_command(rcpt_parameters)
        self._flights = deque(_flights(mail, rcpt, message, level=self.level, reset=reset))
        self._flight = self._flights.popleft()
        self._handed_out = 0
        """Octets of the flight."""
        self._outstanding: deque[Command] = deque()
        self._refusal: tuple[Command, Reply] | None = None
        """The first one: what follows it are its consequences."""
        self._has_surplus = False
        self._reader = ReplyReader()

    def has_ended(self) -> bool:
        """Whether there is an :attr:`end`."""
        return self.end is not None

    @property
    def has_octets(self) -> bool:
        """Whether :meth:`next_octets` has some."""
        return self.end is None and self._handed_out < len(self._flight.octets)

    @property
    def next_commits(self) -> bool:
        """Whether the next octets hold the last one of the message."""
        flight = self._flight
        return flight.commits and self._handed_out + CHUNK >= len(flight.octets)

    @property
    def stage(self) -> Stage:
        """How far the mail has come: what is waited for, or would go out next."""
        if self.is_committed:
            return Stage.MESSAGE
        due = self._outstanding or self._flight.commands
        return due[0].stage

    def next_octets(self) -> bytes:
        """Hand out at most :data:`CHUNK` octets to write now."""
        flight = self._flight
        self.is_committed = self.next_commits
        if not self._handed_out:
            self.round_trips += 1
            if self.on_command is not None:
                for command in flight.commands:
                    self.on_command(command)
        octets = flight.octets[self._handed_out : self._handed_out + CHUNK]
        self._handed_out += len(octets)
        if self._handed_out == len(flight.octets):
            self._outstanding.extend(flight.commands)
        return octets

    def receive(self, octets: bytes) -> None:
        """Take octets from the server."""
        try:
            replies = self._reader.feed(octets)
        except ProtocolViolation as violation:
            if self.end is None:
                self._break_off(Fault.IRREGULAR, f"sent {violation.detail}")
            return
        for reply in replies:
            if self.end is None:
                self._match(reply)
        if self.end is None:
            self._settle()

    def lose(self, fault: Fault, detail: str) -> None:
        """Take notice that nothing more will come, or that it is too late."""
        if self.end is not None:
            return
        if self._refusal is not None and (not self.is_committed or self._is_refusal_final(*self._refusal)):
            self.end = Refused(*self._refusal, in_sync=False)
        else:
            self._break_off(fault, detail)

    def _is_refusal_final(self, command: Command, reply: Reply) -> bool:
        """Tell whether a refusal settles the fate of a message that was sent behind it and never answered.

        With its sender or its one recipient refused it cannot be taken, nor by a server that closed before it read
        MAIL. A later yes, though, says that replies are not in their places.
        """
        said_yes_later = any(later.is_positive for _, later in self.replies[self.replies.index((command, reply)) :])
        closed = reply.code == _CLOSING or reply.enhanced_code == _TIMED_OUT
        return not said_yes_later and (command is not Command.RSET or closed)

    def _match(self, reply: Reply) -> None:
        """Take the reply to the oldest command that waits for one."""
        if not self._outstanding:
            self._take_unasked(reply)
            return
        command = self._outstanding.popleft()
        self.replies.append((command, reply))
        if self.on_reply is not None:
            self.on_reply(command, reply)
        expected = reply.is_intermediate if command is Command.DATA else reply.is_positive
        if expected:
            if command is Command.MESSAGE and self._refusal is not None:
                self._break_off(
                    Fault.IRREGULAR, f"accepted a message after it had refused {self._refusal[0].value}", command
                )
        elif reply.is_positive or reply.is_intermediate or (command is Command.RSET and reply.is_permanent):
            self._break_off(Fault.IRREGULAR, f"answered {reply.code} to {command.value}", command)
        else:
            self._refusal = self._refusal or (command, reply)
            if reply.code == _CLOSING and not self.is_committed:
                self.end = Refused(*self._refusal, in_sync=False)  # no other reply will come

    def _take_unasked(self, reply: Reply) -> None:
        """Take a reply that no command waits for."""
        is_negative = reply.is_transient or reply.is_permanent
        if is_negative and self._is_mid_message:
            # Refused before its end, the message cannot arrive; but the server may not be reading any more.
            self.end = Refused(Command.MESSAGE, reply, in_sync=False)
        elif is_negative and self._refusal is not None:
            # Such as a server that refuses BDAT and takes the octets of the message for commands: no means no.
            self._has_surplus = True
        else:
            self._break_off(Fault.IRREGULAR, "sent a reply that no command asked for")

    def _settle(self) -> None:
        """See where the replies so far lead."""
        if self._is_mid_message:
            if self._reader.begun_with in {b"2", b"3"}:
                self._break_off(Fault.IRREGULAR, "answered a message that had not ended")
        elif not self._outstanding:
            if self._reader.begun_with:
                self._break_off(Fault.IRREGULAR, "sent more than the reply that was due")
            elif self._handed_out:
                self._land()

    def _land(self) -> None:
        """Every reply of the flight is here: go on, or end."""
        last_command, last_reply = self.replies[-1]
        if self._refusal is not None:
            command, reply = self._refusal
            # After 354 the server takes all that comes for text. RFC 2920 would send a lone dot, which delivers an
            # empty mail if the server thinks otherwise of the recipient; the connection is given up instead.
            expects_text = last_command is Command.DATA and last_reply.is_intermediate
            is_lost = expects_text or self._has_surplus or command is Command.RSET or reply.code == _CLOSING
            is_confused = command not in {Command.RSET, Command.MAIL} and reply.code in _NOT_UNDERSTOOD
            self.end = Refused(
                command,
                reply,
                in_sync=not is_lost,
                blames_level=self._has_surplus or (is_confused and len(self._flight.commands) > 1),
            )
        elif self._flights:
            self._flight = self._flights.popleft()
            self._handed_out = 0
        else:
            self.end = Accepted(last_reply)

    @property
    def _is_mid_message(self) -> bool:
        """Whether a part of the flight is handed out; only a message is longer than a chunk."""
        return 0 < self._handed_out < len(self._flight.octets)

    def _break_off(self, fault: Fault, detail: str, command: Command | None = None) -> None:
        if command is None:
            due = self._outstanding or self._flight.commands[-1 if self._handed_out else 0 :]
            command = due[0]
        self.end = Broken(
            fault,
            Stage.MESSAGE if self.is_committed else command.stage,
            detail,
            is_committed=self.is_committed,
            # Silence and loss are blamed on the flight only while one of several commands is unanswered.
            blames_level=self.level > Level.SERIAL if fault is Fault.IRREGULAR else len(self._flight.commands) > 1,
        )


def can_fly_single(message: bytes) -> bool:
    """Tell whether a message may go in one flight with its commands.

    A server that refuses BDAT should discard the octets, and some take them for commands: no line may look like one.
    """
    return len(message) <= _MAX_SINGLE_FLIGHT and _COMMAND_LINE.search(message) is None


def _is_canonical(message: bytes) -> bool:
    lines = message.count(b"\r\n")
    return (
        message.endswith(b"\r\n")
        and message.count(b"\n") == lines
        and message.count(b"\r") == lines
        and b"\0" not in message
    )


def _flights(mail: bytes, rcpt: bytes, message: bytes | None, *, level: Level, reset: bool) -> list[_Flight]:
    """Return what goes out together, in order."""
    if message is None:
        return [_Flight((Command.MAIL,), mail), _Flight((Command.RCPT,), rcpt), _Flight((Command.RSET,), _RSET)]
    commands: tuple[Command, ...] = (Command.MAIL, Command.RCPT)
    octets: tuple[bytes, ...] = (mail, rcpt)
    if reset:
        commands, octets = (Command.RSET, *commands), (_RSET, *octets)
    if level is Level.SINGLE_FLIGHT:
        bdat = b"BDAT %d LAST\r\n" % len(message)
        return [_Flight((*commands, Command.MESSAGE), b"".join((*octets, bdat, message)), commits=True)]
    commands, octets = (*commands, Command.DATA), (*octets, b"DATA\r\n")
    text = _Flight((Command.MESSAGE,), _dot_stuffed(message) + b".\r\n", commits=True)
    if level is Level.PIPELINING:
        return [_Flight(commands, b"".join(octets)), text]
    return [*(_Flight((command,), line) for command, line in zip(commands, octets, strict=True)), text]


def _dot_stuffed(message: bytes) -> bytes:
    """Double the dot that begins a line (RFC 5321, section 4.5.2)."""
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
