"""What differs between the SQL of the engines: a few words, put into statements that are otherwise the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words of one engine."""

    now: str
    """An expression for the time in microseconds since the epoch, the same throughout a statement."""
    skip_locked: str
    """What makes a SELECT take its rows for itself and pass over those that somebody else has taken."""
    blob: str
    """The type of octets."""
    text: str
    """The type of text that sorts by its octets."""

    def render(self, sql: str) -> str:
        """Return a statement in the words of this engine. Its parameters are left as they are, ``:name``."""
        return _render(self, sql)


@cache
def _render(dialect: Dialect, sql: str) -> str:
    return sql.format(now=dialect.now, skip_locked=dialect.skip_locked, blob=dialect.blob, text=dialect.text)
