"""How many commands at once an endpoint gets: what it offers, what is trusted, and what it has shown it cannot do.

A level is only ever lowered by what was seen, and stays so for a day: a server that loses its place once will again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from smtpconnector_server.smtp.transaction import Broken, Fault, Level, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.capabilities import Capabilities
    from smtpconnector_server.smtp.transaction import End

REMEMBERED_SECONDS: Final = 24 * 3600.0
_MAX_ENDPOINTS: Final = 1024
_LOSSES: Final = 2
"""Connections lost in a flight, one after the other, that are put down to the flight: one alone happens anywhere."""


class LevelMemory:
    """The highest level that each endpoint is given."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lowered: OrderedDict[tuple[str, int], tuple[Level, float]] = OrderedDict()
        """Level and when it is forgotten, oldest first."""
        self._losses: dict[tuple[str, int], int] = {}

    def level(self, server: Server, capabilities: Capabilities) -> Level:
        """Return the highest level that may be used with a server."""
        level = Level.SERIAL
        if capabilities.pipelining:
            may_fly = capabilities.chunking and server.single_flight
            level = Level.SINGLE_FLIGHT if may_fly else Level.PIPELINING
        endpoint = (server.host, server.port)
        if endpoint in self._lowered:
            lowered, until = self._lowered[endpoint]
            if self._clock() < until:
                return min(level, lowered)
            del self._lowered[endpoint]
        return level

    def learn(self, server: Server, level: Level, end: End) -> Level | None:
        """Take how a transaction at a level ended. Return the lower level if the endpoint has to step down."""
        endpoint = (server.host, server.port)
        if not isinstance(end, Broken | Refused) or not end.blames_level or level is Level.SERIAL:
            self._losses.pop(endpoint, None)
            return None
        if isinstance(end, Broken) and end.fault is Fault.LOST:
            losses = self._losses.get(endpoint, 0) + 1
            if losses < _LOSSES:
                if len(self._losses) >= _MAX_ENDPOINTS:
                    self._losses.clear()
                self._losses[endpoint] = losses
                return None
        self._losses.pop(endpoint, None)
        lowered = Level(level - 1)
        self._lowered[endpoint] = (lowered, self._clock() + REMEMBERED_SECONDS)
        self._lowered.move_to_end(endpoint)
        if len(self._lowered) > _MAX_ENDPOINTS:
            self._lowered.popitem(last=False)
        return lowered
