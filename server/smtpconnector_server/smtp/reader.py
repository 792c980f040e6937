"""The strict reader of replies: octets in, complete replies out.

What is not exactly a reply is never skipped, repaired or waited out: behind a skipped line each later reply would be
taken for that of another command, and a mail for accepted that was not (RFC 5321, section 4.2, is strict enough).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from smtpconnector_server.smtp.reply import Reply

MAX_LINE: Final = 2048
"""Octets of one line with its CRLF. RFC 5321, section 4.5.3.1.5, allows 512; long EHLO and policy lines occur."""
MAX_LINES: Final = 100
MAX_REPLY: Final = 32 * 1024
"""Octets of one whole reply."""

_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])([^\x00-\x08\x0a-\x1f\x7f]*))?")
_ONE_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\r\n")
"""Control characters are not text (RFC 5321, section 4.2); octets above 127 are not either, but are common."""

_MAX_COMMON: Final = 512
"""Octets that come at once and are worth remembering."""


class ProtocolViolation(Exception):  # noqa: N818 - the server's fault, by its name
    """The server broke the protocol; nothing more may be read from this connection.

    Attributes:
        detail: What was wrong, in words of ours.
        first_octet: The octet that cannot begin a reply, where that is what was wrong.
    """

    def __init__(self, detail: str, *, first_octet: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.first_octet = first_octet


class ReplyReader:
    """Cuts a stream of octets into replies."""

    __slots__ = ("_code", "_rest", "_size", "_texts")

    def __init__(self) -> None:
        self._rest = b""
        """An incomplete line."""
        self._code = b""
        """Of the reply that has begun; empty between replies."""
        self._texts: list[bytes] = []
        self._size = 0

    @property
    def begun_with(self) -> bytes:
        """The first digit of a reply of which only a part is here; empty between replies."""
        return self._code[:1] or self._rest[:1]

    def feed(self, octets: bytes) -> list[Reply]:
        """Take octets as they come and return the replies that they complete.

        Raises:
            ProtocolViolation: They are no replies. The reader must not be used again.
        """
        replies: list[Reply] = []
        if not (self._rest or self._code):
            # Replies of one line, which most are; what is left is for the slow and exact way.
            is_common = len(octets) <= _MAX_COMMON and b"@" not in octets  # an address is personal and not kept
            found, end = (_common_replies if is_common else _one_line_replies)(octets)
            replies.extend(found)
            if end == len(octets):
                return replies
            octets = octets[end:]
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            reply = self._take(line)
            if reply is not None:
                replies.append(reply)
        if self._rest:
            # Here and not at the line's end, which a server that speaks another protocol may never send.
            if self._rest[0] not in b"2345":
                raise ProtocolViolation("octets that are no reply", first_octet=self._rest[0])
            self._check_size(len(self._rest))
        return replies

    def _take(self, line: bytes) -> Reply | None:
        self._check_size(len(line) + 1)
        found = _LINE.fullmatch(line, 0, len(line) - 1) if line.endswith(b"\r") else None
        if found is None:
            if line[:1] and line[0] not in b"2345":
                raise ProtocolViolation("octets that are no reply", first_octet=line[0])
            raise ProtocolViolation("a malformed reply line")
        code, separator, text = found.groups()
        if self._code and code != self._code:
            raise ProtocolViolation("two different codes in one reply")
        self._texts.append(text or b"")
        self._size += len(line) + 1
        if separator == b"-":
            if len(self._texts) == MAX_LINES:
                raise ProtocolViolation(f"a reply of more than {MAX_LINES} lines")
            self._code = code
            return None
        reply = Reply.from_lines(int(code), self._texts)
        self._code = b""
        self._texts = []
        self._size = 0
        return reply

    def _check_size(self, length: int) -> None:
        if length > MAX_LINE:
            raise ProtocolViolation(f"a reply line of more than {MAX_LINE} octets")
        if self._size + length > MAX_REPLY:
            raise ProtocolViolation(f"a reply of more than {MAX_REPLY} octets")


def _one_line_replies(octets: bytes) -> tuple[tuple[Reply, ...], int]:
    """Return the replies of one line that octets begin with, and where the last one ends."""
    replies: list[Reply] = []
    end = 0
    while (found := _ONE_LINE.match(octets, end)) is not None and found.end() - end <= MAX_LINE:
        code, text = found.groups(b"")
        replies.append(Reply.from_line(int(code), text))
        end = found.end()
    return tuple(replies), end


_common_replies: Final = lru_cache(maxsize=64)(_one_line_replies)
"""Servers say the same mail after mail."""
