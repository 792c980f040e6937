"""How long each step of opening a session took."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.failure import Stage
    from smtpconnector_server.smtp.events import StepTime


class StepTimes:
    """Takes the time of one step after the other.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = self._at = clock()
        self._times: list[StepTime] = []

    def note(self, stage: Stage, _sight: object = None) -> None:
        """Take note that a step has ended just now."""
        now = self._clock()
        self._times.append((stage, now - self._at))
        self._at = now

    @property
    def done(self) -> tuple[StepTime, ...]:
        """The steps so far, in order."""
        return tuple(self._times)

    @property
    def seconds(self) -> float:
        """How long all of it has taken until now."""
        return self._clock() - self._began
