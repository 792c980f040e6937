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
_MARK: Final = 4
_STRIDE: Final = _PIECE - _MARK + 1
"""Of every piece a mark, which is a shorter piece, begins at a multiple of this: the first looked for, being few."""
_MASK: Final = "***"


class Redactor:
    """Takes certain texts out of replies, whatever their case.

    Args:
        secrets: Passwords and tokens.
        names: User names: no secrets, but personal.
    """

    __slots__ = ("_marks", "_names", "_pieces", "_short")

    def __init__(self, *secrets: str, names: tuple[str, ...] = ()) -> None:
        self._pieces: tuple[str, ...] = ()
        self._short: tuple[str, ...] = ()
        self._marks: frozenset[str] = frozenset()
        self._names = tuple(form for name in names for form in _forms(name))
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Take these out as well from now on."""
        self._pieces += tuple(form for secret in secrets for form in _forms(secret))
        self._short = tuple(piece for piece in self._pieces if len(piece) < _PIECE)
        self._marks = frozenset(
            piece[start : start + _MARK]
            for piece in self._pieces
            for start in range(0, len(piece) - _MARK + 1, _STRIDE)
        )

    def clean(self, reply: Reply, *names: str) -> Reply:
        """Return the reply without the secrets, the names, and further ``names`` such as addresses."""
        text = reply.text.lower()
        needles = [needle for needle in (*self._names, *map(str.lower, names)) if needle and needle in text]
        may_hold_secret = self._may_hold_secret(text)
        if not (needles or may_hold_secret):
            return reply
        hidden = bytearray(len(text))
        if may_hold_secret:
            for needle in self._pieces:
                _hide(text, needle, min(_PIECE, len(needle)), hidden)
        for needle in needles:
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

    def _may_hold_secret(self, text: str) -> bool:
        """Tell texts that hold no piece of a secret, as nearly all do, at little cost however long the secrets are."""
        return not self._marks.isdisjoint(
            [text[start : start + _MARK] for start in range(len(text) - _MARK + 1)]
        ) or any(secret in text for secret in self._short)


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
