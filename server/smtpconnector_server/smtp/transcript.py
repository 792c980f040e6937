"""What is said on a connection, for an operator who asked to see it: no secret, no address, nothing of a mail.

Of commands only those parts are shown that are known to be harmless, whatever else there may be. Replies come cleaned
of credentials and addresses; where one may quote the mail that it refuses, its codes have to do.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.smtp.events import LineSaid
from smtpconnector_server.smtp.transaction import Command, Level

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.redaction import Redactor
    from smtpconnector_server.smtp.reply import Reply

_MASK: Final = "***"
_HARMLESS: Final = frozenset({"EHLO", "HELO", "STARTTLS"})
_MECHANISM: Final = re.compile(r"AUTH (?P<name>[A-Z0-9_-]{1,20})(?P<response> .*)?")
_ORIGINAL_RECIPIENT: Final = re.compile(r"(?<= ORCPT=)\S+")
_numbers = itertools.count(1)


class Transcript:
    """Tells what is said on one connection.

    Args:
        server: With which server.
        redactor: Takes the credentials out of replies.
        hook: Told every line.
    """

    def __init__(self, server: Server, redactor: Redactor, hook: WireHook) -> None:
        self._server = server
        self._redactor = redactor
        self._hook = hook
        self._number = next(_numbers)

    def write(self, octets: bytes) -> None:
        """Take a line of ours before the first mail: a command, or an answer within AUTH."""
        line = octets.decode("ascii", "replace").strip()
        auth = _MECHANISM.fullmatch(line)
        if auth is not None:
            line = f"AUTH {auth['name']}" + (f" {_MASK}" if auth["response"] else "")
        elif line.partition(" ")[0].upper() not in _HARMLESS:
            line = _MASK
        self._tell("client", line)

    def read(self, reply: Reply) -> None:
        """Take a reply before the first mail."""
        reply = self._redactor.clean(reply)
        # What is asked within AUTH is answered with secrets, and some servers put theirs into the question.
        self._tell("server", _line(reply, _MASK if reply.is_intermediate else reply.text))

    def command(self, command: Command, level: Level, parameters: tuple[str, str], size: int) -> None:
        """Take a command of a mail that goes out.

        Args:
            command: Which one.
            level: Of its transaction.
            parameters: Of MAIL and of RCPT, each empty or beginning with a space.
            size: Octets of the message.
        """
        of_mail, of_rcpt = parameters
        match command:
            case Command.MAIL:
                line = f"MAIL FROM:<{_MASK}>{of_mail}"
            case Command.RCPT:
                line = f"RCPT TO:<{_MASK}>{_ORIGINAL_RECIPIENT.sub(_MASK, of_rcpt)}"
            case Command.MESSAGE:
                line = f"{f'BDAT {size} LAST ' if level is Level.SINGLE_FLIGHT else ''}(a message of {size} octets)"
            case _:
                line = command.value
        self._tell("client", line)

    def reply(self, command: Command, reply: Reply) -> None:
        """Take the reply to a command of a mail, cleaned of credentials and addresses."""
        is_refusal = command is Command.MESSAGE and not reply.is_positive
        self._tell("server", _line(reply, _MASK if is_refusal else reply.text))

    def breakdown(self, detail: str) -> None:
        """Take notice that the server broke the protocol or fell silent, in words of ours."""
        self._tell("server", f"({detail})")

    def _tell(self, speaker: str, line: str) -> None:
        self._hook(LineSaid(self._server.host, self._server.port, self._number, speaker, line))


def _line(reply: Reply, text: str) -> str:
    return f"{reply.codes} {text}".rstrip()
