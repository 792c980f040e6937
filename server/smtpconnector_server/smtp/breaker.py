"""The circuit breaker of a server: after repeated failures to open a session, none is tried for a while.

Callers get the last failure at once instead of waiting for the next one, a server that comes up again is not met by
all of them together, and a password that was refused is not tried over and over until the account is locked. Several
breakers of one SMTP server, each in a process of its own, may hear of each other's pauses: they keep them, but not for
ever, for what fails from one machine may well work from another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

THRESHOLD: Final = 3
"""Failures in a row that open the breaker."""
FIRST_PAUSE: Final = 5.0
"""Seconds."""
MAX_PAUSE: Final = 60.0

_AT_ONCE: Final[Mapping[Reason, int]] = {Reason.SMTP_AUTH_FAILED: 1, Reason.SMTP_RATE_LIMITED: 1}
"""Reasons with a threshold of their own: each attempt counts against the account."""
MAX_HEARD: Final = MAX_PAUSE + 5.0
"""Seconds of others' pauses that are kept without a trial of one's own: the longest, and the others' head start."""
_SAME: Final = 0.5
"""Seconds by which a pause that is heard of must be longer to be another one."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause after failures of the breaker's own."""

    ends_at: float
    failure: Failure
    """The last one."""


class Breaker:
    """Decides whether sessions may be opened. Times are seconds of any one clock.

    Args:
        is_proven: Whether sessions may be opened side by side before one has been. Not with credentials: a wrong
            password would be tried as often.
        first_pause: Seconds; doubled each time the trial after a pause fails.
    """

    def __init__(self, *, is_proven: bool = True, first_pause: float = FIRST_PAUSE) -> None:
        self._is_proven = is_proven
        self._first_pause = first_pause
        self._failures = 0
        self._pause = 0.0
        """Of the breaker; 0 while it is closed."""
        self._until = 0.0
        self._last: Failure | None = None
        self._heard_since: float | None = None
        """When the first pause was heard of that is kept without a trial of one's own in between."""
        self._is_relieved = False
        """Whether a pause was cut short and nothing has succeeded since."""

    @property
    def is_closed(self) -> bool:
        """Whether the server is thought to work."""
        return not self._pause

    def fail(self, failure: Failure, now: float) -> float:
        """Take a failure to open a session. Return the seconds of pause that begin with it, if any."""
        if not failure.reason.startswith("SMTP_"):
            return 0.0  # not the server's
        self._heard_since = None
        self._failures += 1
        self._last = failure
        if now < self._until or self._failures < _AT_ONCE.get(failure.reason, THRESHOLD):
            return 0.0
        self._pause = min(max(self._pause * 2, self._first_pause, failure.retry_after or 0.0), MAX_PAUSE)
        self._until = now + self._pause
        return self._pause

    def succeed(self) -> None:
        """Take a session that was opened."""
        self._is_proven = True
        self._failures = 0
        self._pause = 0.0
        self._until = 0.0
        self._last = None
        self._heard_since = None
        self._is_relieved = False

    def hear(self, failure: Failure, pause: float, now: float) -> float:
        """Take a pause that another breaker has begun. Return the seconds that it is kept here, if any.

        Without a trial of one's own no more than :data:`MAX_HEARD` is kept, and then none for :data:`MAX_PAUSE`.
        """
        since = self._heard_since
        if since is None or now >= self._until + MAX_PAUSE:
            since = now
        until = min(now + pause, since + MAX_HEARD)
        if until < max(self._until, now) + _SAME:
            return 0.0
        self._heard_since = since
        self._failures = max(self._failures, THRESHOLD)
        self._pause = max(self._pause, min(pause, MAX_PAUSE))
        self._until = until
        self._last = failure
        return until - now

    def relieve(self, now: float) -> None:
        """Take that it works again elsewhere: a trial is allowed now, once until one has succeeded."""
        if self._pause and not self._is_relieved:
            self._is_relieved = True
            self._until = min(self._until, now)

    def openings(self, now: float, under_way: int) -> int | None:
        """Return how many more sessions may be opened now. None: any number.

        Args:
            now: The time.
            under_way: Sessions that are being opened.
        """
        if self._is_proven and not self._failures:
            return None
        return 0 if now < self._until or under_way else 1

    def refusal(self, now: float) -> Failure | None:
        """Return the failure for those who would need a new session in a pause."""
        if self._last is None or now >= self._until:
            return None
        return repeated(self._last, retry_after=self._until - now)

    @property
    def own_pause(self) -> Pause | None:
        """The pause that failures of its own have begun. None: there is none, or it was heard of."""
        if not self._pause or self._last is None or self._heard_since is not None:
            return None
        return Pause(self._until, self._last)

    @property
    def pause_ends(self) -> float | None:
        """When a trial is allowed. None: there is no pause."""
        return self._until if self._pause else None


def repeated(failure: Failure, *, retry_after: float | None = None) -> Failure:
    """Return the same failure for another caller: an exception is raised to one only."""
    return Failure(
        failure.reason,
        failure.message,
        stage=failure.stage,
        outcome=failure.outcome,
        violations=failure.violations,
        reply=failure.reply,
        host=failure.host,
        retry_after=failure.retry_after if retry_after is None else retry_after,
    )


def counts_against_account(reason: Reason) -> bool:
    """Tell whether a failure is the account's, and so everybody's who uses it, rather than one machine's."""
    return reason in _AT_ONCE
