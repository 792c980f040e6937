"""The wire oracle: holds every octet that a client sent against the rules that no client may break.

It asks no question about mail or outcome; it is right for every session, good or bad, and so is applied to all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.smtp_session import Session

_VERBS = {b"EHLO", b"STARTTLS", b"AUTH", b"MAIL", b"RCPT", b"DATA", b"BDAT", b"RSET", b"NOOP", b"QUIT"}
_MAY_BE_FOLLOWED = {b"RSET", b"MAIL", b"RCPT", b"BDAT"}  # all others stand last in their group (RFC 2920, section 3.1)
_MAX_COMMAND = 512  # with CRLF (RFC 5321, section 4.5.3.1.4)
_MAX_AUTH = 12288  # with CRLF (RFC 4954, section 4)
_MAX_LINE = 1000  # with CRLF (RFC 5321, section 4.5.3.1.6)


def violations(session: Session, *, clear_auth_allowed: bool = False) -> list[str]:
    """Say what is wrong with what the client sent; nothing, if nothing is."""
    return [
        *_of_octets(session.client_octets),
        *_of_commands(session),
        *_of_groups(session),
        *_of_authentication(session, clear_auth_allowed=clear_auth_allowed),
        *(fault for content in session.contents for fault in _of_content(content)),
    ]


def _of_octets(octets: bytes) -> Iterator[str]:
    if b"\x00" in octets:
        yield "NUL"
    if re.search(rb"\r(?!\n|\Z)", octets):  # the last one may be half a CRLF of an aborted connection
        yield "bare CR"
    if re.search(rb"(?<!\r)\n", octets):
        yield "bare LF"


def _of_commands(session: Session) -> Iterator[str]:
    for command in session.commands:
        if command.verb not in _VERBS:
            yield f"unknown command {command.verb!r}"
        if len(command.line) + 2 > (_MAX_AUTH if command.verb == b"AUTH" else _MAX_COMMAND):
            yield f"{command.verb!r} line of {len(command.line) + 2} octets"
    for transaction in re.split(r"MAIL|RSET", " ".join(verb.decode(errors="replace") for verb in session.verbs)):
        if "DATA" in transaction and "BDAT" in transaction:
            yield "DATA and BDAT in one transaction"


def _of_groups(session: Session) -> Iterator[str]:
    can_pipeline = "PIPELINING" in session.server.extensions
    for command in session.commands:
        if command.is_followed and command.verb not in _MAY_BE_FOLLOWED:
            yield f"{command.verb!r} is not the last of its group"
        elif command.is_followed and not can_pipeline and command.verb != b"BDAT":
            yield f"{command.verb!r} pipelined though not offered"


def _of_authentication(session: Session, *, clear_auth_allowed: bool) -> Iterator[str]:
    attempts = [command for command in session.commands if command.verb == b"AUTH"]
    if len(attempts) > 1:
        yield f"{len(attempts)} AUTH commands on one connection"
    if not clear_auth_allowed and not all(command.is_encrypted for command in attempts):
        yield "AUTH in the clear"
    if attempts and b"EHLO" in session.verbs[session.verbs.index(b"AUTH") :]:
        yield "EHLO after AUTH"


def _of_content(content: bytes) -> Iterator[str]:
    if not content.endswith(b"\r\n"):
        yield "content does not end with CRLF"
    longest = max((len(line) for line in content.splitlines(keepends=True)), default=0)
    if longest > _MAX_LINE:
        yield f"content line of {longest} octets"
