"""What came of reading a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smtpconnector_server.config.finding import Finding
    from smtpconnector_server.config.model import Connector


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration, if it can be used, and everything that is to be said of it."""

    connector: Connector | None
    """None exactly when one of the findings is an error."""
    findings: tuple[Finding, ...]
    """Errors first."""
