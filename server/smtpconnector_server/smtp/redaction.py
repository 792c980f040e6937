"""Takes secrets out of what a server says: some echo the AUTH line, or an address, in their error texts.

A piece of a secret counts as the secret, because texts are cut and lines wrapped; so does a piece of its base64 form in
any of the three alignments that it can have within an encoded credential.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpconnector_server.smtp.reply import Reply

_PIECE: Final = 8
"""Characters in common that give a secret away. A shorter secret counts whole."""
_MASK: Final = "***"


class Redactor:
    """Takes certain texts out of replies, whatever their case.

    Args:
        secrets: Passwords and tokens.
        names: User names: no secrets, but personal.
    """

    __slots__ = ("_names", "_pieces")

    def __init__(self, *secrets: str, names: tuple[str, ...] = ()) -> None:
        self._pieces = tuple(form for secret in secrets for form in _forms(secret))
        self._names = tuple(form for name in names for form in _forms(name))

    def clean(self, reply: Reply, *names: str) -> Reply:
        """Return the reply without the secrets, the names, and further ``names`` such as addresses."""
        text = reply.text.lower()
        hidden = bytearray(len(text))
        for needle in self._pieces:
            _hide(text, needle, min(_PIECE, len(needle)), hidden)
        for needle in (*self._names, *(name.lower() for name in names if name)):
            if needle in text:
                _hide(text, needle, len(needle), hidden)
        if not any(hidden):
            return reply
        shown = []
        for position, character in enumerate(reply.text):
            if not hidden[position]:
                shown.append(character)
            elif position == 0 or not hidden[position - 1]:
                shown.append(_MASK)
        return replace(reply, text="".join(shown))


def _forms(secret: str) -> Iterator[str]:
    """Return the texts by which a secret can be recognised, in lower case."""
    if not secret:
        return
    yield secret.lower()
    for offset in range(3):
        encoded = b64encode(bytes(offset) + secret.encode(errors="replace")).decode().rstrip("=").lower()
        # The characters at the ends depend on what stands beside the secret.
        middle = encoded[(4 * offset + 2) // 3 : len(encoded) - 1]
        if middle:
            yield middle


def _hide(text: str, needle: str, size: int, hidden: bytearray) -> None:
    for start in range(len(text) - size + 1):
        if text[start : start + size] in needle:
            hidden[start : start + size] = b"\1" * size
