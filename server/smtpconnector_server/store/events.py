"""What the store tells about itself, for the telemetry room to adapt to metrics.

A hook returns at once and does not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from smtpconnector_server.value_object import value_object


@value_object()
class StoreAsked:
    """The store was asked to do something."""

    operation: str
    """The method of :class:`.store.Store`."""
    seconds: float
    has_failed: bool


StoreEvent: TypeAlias = StoreAsked
StoreHook: TypeAlias = Callable[[StoreEvent], None]
