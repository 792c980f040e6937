"""Who wrote a configuration, and so what it may ask for."""

from __future__ import annotations

from enum import Enum


class Origin(Enum):
    """Who wrote a configuration."""

    PROFILE = "profile"
    """The operator: a configuration that the server holds."""
    CALLER = "caller"
    """A caller: a configuration that came with a request."""
