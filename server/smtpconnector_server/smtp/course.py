"""The course of a look at a server: which steps it has, and how each of them went. Without I/O.

Every step of the plan ends in exactly one way, in the order of the plan, whatever happens to the look.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

from smtpconnector_server.config.model import OAuth2Auth, TlsMode
from smtpconnector_server.failure import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.config.model import Server


class Depth(IntEnum):
    """How far a check goes. Each depth includes those before it."""

    SCHEMA = 1
    """The configuration alone."""
    RESOLVE = 2
    CONNECT = 3
    """Up to the reply to EHLO, TLS included."""
    AUTHENTICATE = 4
    ENVELOPE = 5
    """MAIL and RCPT, then RSET."""


class StepStatus(Enum):
    """How a step went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not tried: an earlier one failed, or it does not apply."""


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One step of a look."""

    stage: Stage
    status: StepStatus
    seconds: float | None
    """What it took. None: it was not tried."""
    detail: str
    """What was seen, in a line without secrets and without the recipient."""

    @property
    def name(self) -> str:
        """What the step is called: the reading of the configuration is SCHEMA, as the depth is."""
        return Depth.SCHEMA.name if self.stage is Stage.CONFIG else self.stage.value


def plan(server: Server | None, depth: Depth) -> tuple[Stage, ...]:
    """Return the stages of a look in their order.

    Args:
        server: At which server. None: the configuration is wrong, so nobody knows whether there are tokens and TLS.
        depth: How deep.
    """
    mode = server.tls_mode if server is not None else TlsMode.DISABLED
    stages: list[Stage] = []
    if depth >= Depth.AUTHENTICATE and server is not None and isinstance(server.auth, OAuth2Auth):
        stages += [Stage.TOKEN]
    if depth >= Depth.RESOLVE:
        stages += [Stage.RESOLVE]
    if depth >= Depth.CONNECT:
        stages += [Stage.CONNECT, *([Stage.TLS] if mode is TlsMode.IMPLICIT else []), Stage.GREETING, Stage.EHLO]
        if mode in {TlsMode.STARTTLS_OFFERED, TlsMode.STARTTLS_REQUIRED}:
            stages += [Stage.STARTTLS, Stage.TLS, Stage.EHLO]
    if depth >= Depth.AUTHENTICATE:
        stages += [Stage.AUTH]
    if depth >= Depth.ENVELOPE:
        stages += [Stage.MAIL, Stage.RCPT]
    return tuple(stages)


class Course:
    """The steps of one look.

    Args:
        stages: The plan.
        on_step: Told each step when it has ended.
        clock: Seconds.
    """

    def __init__(
        self,
        stages: tuple[Stage, ...],
        *,
        on_step: Callable[[ProbeStep], None] = lambda _step: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps: list[ProbeStep] = []
        self._stages = stages
        self._ahead = deque(stages)
        self._on_step = on_step
        self._clock = clock
        self._began = clock()

    @property
    def under_way(self) -> Stage | None:
        """The next step of the plan. None: all are done."""
        return self._ahead[0] if self._ahead else None

    def has_passed(self, stage: Stage) -> bool:
        """Tell whether a step went well."""
        return any(step.stage is stage and step.status is StepStatus.PASSED for step in self.steps)

    def seconds(self) -> float:
        """Return since when the step is under way."""
        return self._clock() - self._began

    def pass_(self, stage: Stage, detail: str) -> None:
        """Take note that a step went well; those before it did not apply."""
        if stage is Stage.TOKEN and stage not in self._ahead:
            self._ahead = deque(self._stages)  # all over again with another token
        self._skip_to(stage)
        self._end(stage, StepStatus.PASSED, self.seconds(), detail)
        self._began = self._clock()

    def fail(self, stage: Stage, detail: str, *, seconds: float) -> None:
        """Take note that a step went wrong. It ends the course; the stage may be one that was not planned."""
        if stage in self._ahead:
            self._skip_to(stage)
        self._end(stage, StepStatus.FAILED, seconds, detail)
        while self._ahead:
            self._end(self._ahead.popleft(), StepStatus.SKIPPED, None, "an earlier step failed")

    def finish(self) -> None:
        """Take note that the look is over; the steps still ahead did not apply."""
        self._skip_to(None)

    def _skip_to(self, stage: Stage | None) -> None:
        """Leave out the steps before one, and take that one off the plan."""
        while self._ahead and self._ahead[0] is not stage:
            skipped = self._ahead.popleft()
            why = "no credentials are configured" if skipped is Stage.AUTH else "the server does not offer STARTTLS"
            self._end(skipped, StepStatus.SKIPPED, None, why)
        if self._ahead:
            self._ahead.popleft()

    def _end(self, stage: Stage, status: StepStatus, seconds: float | None, detail: str) -> None:
        step = ProbeStep(stage, status, seconds, detail)
        self.steps.append(step)
        self._on_step(step)
