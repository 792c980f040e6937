"""Rates: how many mails may go to, or be caused by, one key in a time.

By the generic cell rate algorithm, exact to the moment when the next one is allowed. Kept in this process, for as many
keys as fit.
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
        self._windows = tuple((rate.count, rate.seconds) for rate in rates)
        self._clock = clock
        self._empty_at: OrderedDict[Hashable, list[float]] = OrderedDict()
        """When each rate's bucket would be empty again, by key; the last used last."""

    def take(self, key: Hashable) -> float:
        """Count one, if every rate allows it.

        Returns:
            0 if it was counted, else the seconds until one may be.
        """
        if not self._windows:
            return 0.0
        now = self._clock()
        wait, marks = count_one(self._empty_at.get(key, ()), self._windows, now)
        if wait > 0:
            return wait
        self._empty_at[key] = marks
        self._empty_at.move_to_end(key)
        if len(self._empty_at) > _MAX_KEYS:
            self._empty_at.popitem(last=False)
        return 0.0
