"""Rates: how many mails may go to, or be caused by, one key in a time.

The generic cell rate algorithm (ITU-T I.371): one number a key, exact to the moment when the next one is allowed. A
burst of the whole count is allowed, then one after the other. Kept in this process, for as many keys as fit.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
        self._rates = rates
        self._clock = clock
        self._full_at: OrderedDict[Hashable, list[float]] = OrderedDict()
        """When each rate's bucket would be empty again, by key; the last used last."""

    def take(self, key: Hashable) -> float:
        """Count one, if every rate allows it.

        Returns:
            0 if it was counted, else the seconds until one may be.
        """
        if not self._rates:
            return 0.0
        now = self._clock()
        marks = [max(mark, now) for mark in self._full_at.get(key, [now] * len(self._rates))]
        wait = max(
            mark + rate.seconds / rate.count - rate.seconds - now for mark, rate in zip(marks, self._rates, strict=True)
        )
        if wait > 0:
            return wait
        self._full_at[key] = [mark + rate.seconds / rate.count for mark, rate in zip(marks, self._rates, strict=True)]
        self._full_at.move_to_end(key)
        if len(self._full_at) > _MAX_KEYS:
            self._full_at.popitem(last=False)
        return 0.0
