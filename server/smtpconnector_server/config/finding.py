"""Findings: what the validator has to say of a configuration, all of it at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smtpconnector_server.config.draft import Said

_MOST: Final = 200  # a hostile document must not be answered with megabytes


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


class Findings:
    """Collects findings while a configuration is read.

    Args:
        order: The keys of the configuration, in the order in which their findings are reported.
    """

    def __init__(self, order: Iterable[str] = ()) -> None:
        self._ranks = {key: rank for rank, key in enumerate(order)}
        self._found: dict[Finding, None] = {}

    def error(self, field: str, reason: str, message: str, hint: str = "") -> None:
        """Say what makes the configuration unusable."""
        self.add(Severity.ERROR, field, reason, message, hint)

    def warning(self, field: str, reason: str, message: str, hint: str = "") -> None:
        """Say what works, but likely not as meant."""
        self.add(Severity.WARNING, field, reason, message, hint)

    def info(self, field: str, reason: str, message: str, hint: str = "") -> None:
        """Say what is good to know."""
        self.add(Severity.INFO, field, reason, message, hint)

    def add(self, severity: Severity, field: str, reason: str, message: str, hint: str = "") -> None:
        """Say something once, however often it is found."""
        self._found[Finding(severity=severity, field=field, reason=reason, message=message, hint=hint)] = None

    def require(self, said: Said[Any], hint: str = "") -> None:
        """Say that a value is missing, if nothing at all was said."""
        if not said.is_given:
            self.error(said.path, "MISSING_FIELD", f"{said.path} is missing.", hint)

    @property
    def has_error(self) -> bool:
        """Whether the configuration is unusable."""
        return any(finding.severity is Severity.ERROR for finding in self._found)

    def report(self) -> tuple[Finding, ...]:
        """Return the findings: errors first, then in the order of the keys, then in that in which they were found."""
        ordered = sorted(self._found, key=lambda finding: (finding.severity, self._rank(finding.field)))
        if len(ordered) <= _MOST:
            return tuple(ordered)
        rest = Finding(
            severity=Severity.INFO,
            field="",
            reason="MORE_FINDINGS",
            message=f"{len(ordered) - _MOST} more findings are left out.",
            hint="Mend these and check again.",
        )
        return (*ordered[:_MOST], rest)

    def _rank(self, field: str) -> int:
        key = re.split(r"[.\[]", field, maxsplit=1)[0]
        return self._ranks.get(key, len(self._ranks)) if field else -1
