"""Headers that a configuration adds: names that are free, values that stay on their line."""

from __future__ import annotations

import re
from typing import Final

from smtpconnector_server.message.header import MAX_LINE_OCTETS, encode_text, header_line
from smtpconnector_server.message.text_rule import HEADER_TEXT

MAX_VALUE_CHARACTERS: Final = 4096

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
WRITTEN_BY_US: Final = frozenset(
    {"date", "from", "to", "reply-to", "subject", "message-id", "auto-submitted", "mime-version"}
)
"""Names of the headers that every mail has from us, in lower case; Content-* beside them."""
_RESERVED: Final = WRITTEN_BY_US | {
    *("cc", "bcc", "sender"),  # who sends and who receives is not the configuration's to add
    *("return-path", "received", "dkim-signature"),  # trace and signature of the servers on the way
}
_RESERVED_PREFIXES: Final = ("content-", "resent-", "arc-")


class HeaderError(ValueError):
    """A custom header that cannot be; the text says why, without the value."""


def check_header_name(name: str) -> None:
    """Check the name of a custom header.

    Raises:
        HeaderError: If it is no name, or one that is not free.
    """
    if not _NAME.fullmatch(name):
        raise HeaderError("is not a header name: use 1 to 64 letters, digits and hyphens")
    lowered = name.lower()
    if lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES):
        raise HeaderError("is a header that the service or the mail servers on the way write themselves: remove it")


def check_header_value(value: str) -> None:
    """Check the value of a custom header.

    Raises:
        HeaderError: If it is too long, or cannot stand in a header.
    """
    if len(value) > MAX_VALUE_CHARACTERS:
        raise HeaderError(f"is longer than {MAX_VALUE_CHARACTERS} characters")
    problem = HEADER_TEXT.problem(value)
    if problem:
        raise HeaderError(problem)
    longest = max(map(len, header_line("X" * 64, encode_text(value)).split("\r\n")))
    if longest > MAX_LINE_OCTETS:
        raise HeaderError(f"has no blank where a line of more than {MAX_LINE_OCTETS} characters could be folded")
