"""Rates: how many mails may go to, or be caused by, one key in a time.

A burst of the whole count is allowed, then one after the other; see :mod:`smtpconnector_server.store.gcra`. Kept in
this process, for as many keys as fit.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.store.gcra import count_one

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_MAX_KEYS: Final = 100_000
_UNITS: Final = {"s": 1, "second": 1, "m": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_RATE: Final = re.compile(r"(?P<count>[1-9]\d{0,8})/(?P<number>[1-9]\d{0,4})?(?P<unit>[a-z]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    count: int
    seconds: float


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Read rates such as ``5/10minute, 20/day``; empty text is none.

    Raises:
        ValueError: It is none of these.
    """
    rates = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _RATE.fullmatch(part)
        if match is None or match["unit"] not in _UNITS:
            raise ValueError(f"a rate is COUNT/UNIT or COUNT/NUMBER UNIT, such as 5/10minute or 20/day; got {part!r}")
        rates.append(Rate(int(match["count"]), int(match["number"] or 1) * _UNITS[match["unit"]]))
    return tuple(rates)


class RateLimiter:
    """Counts by key against several rates at once.

    Args:
        rates: All of them must be kept.
        clock: Seconds, monotonic.
    """

    def __init__(self, rates: tuple[Rate, ...], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = [(rate.count, rate.seconds) for rate in rates]
        self._clock = clock
        self._marks: OrderedDict[Hashable, list[float]] = OrderedDict()
        """By key, the last counted last."""

    def wait(self, key: Hashable) -> float:
        """Return the seconds until one may be counted, without counting it; 0 if it may be now."""
        return self._count(key)[0]

    def take(self, key: Hashable) -> float:
        """Count one, if every rate allows it.

        Returns:
            0 if it was counted, else the seconds until one may be.
        """
        wait, marks = self._count(key)
        if wait or not marks:
            return wait
        self._marks[key] = marks
        self._marks.move_to_end(key)
        if len(self._marks) > _MAX_KEYS:
            self._marks.popitem(last=False)
        return 0.0

    def _count(self, key: Hashable) -> tuple[float, list[float]]:
        if not self._windows:
            return 0.0, []
        return count_one(self._marks.get(key, ()), self._windows, self._clock())
