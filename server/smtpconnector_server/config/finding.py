"""A finding: one thing that the validator has to say of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """What a finding means for the configuration; the order is the order of report."""

    ERROR = 1
    """The configuration cannot be used."""
    WARNING = 2
    """It works, but likely not as meant."""
    INFO = 3
    """Good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to say of a configuration. It never holds a secret."""

    severity: Severity
    field: str
    """The path in the caller's own form, such as ``auth.user`` or ``templates[2].contentType``; empty for the whole."""
    reason: str
    """A stable name of the kind of finding, in UPPER_SNAKE_CASE."""
    message: str
    hint: str = ""
    """What to change."""
