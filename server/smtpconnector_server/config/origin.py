"""Who wrote a configuration, and so what it may ask for."""

from __future__ import annotations

from enum import Enum
from typing import Self


class Origin(Enum):
    """Who wrote a configuration."""

    PROFILE = "profile"
    """The operator: a configuration that the server holds."""
    CALLER = "caller"
    """A caller: a configuration that came with a request."""

    @classmethod
    def of(cls, profile: str | None) -> Self:
        """Return who wrote the configuration of a profile; None is one that came with a call."""
        return cls.CALLER if profile is None else cls.PROFILE
