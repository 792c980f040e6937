"""The generic cell rate algorithm (ITU-T I.371) against several limits at once, as a pure function.

One number a limit, its mark: the moment when its bucket is empty again. A burst of the whole count is allowed, then one
after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDING: Final = 0.01
"""Of the time between two: what a mark may be off by what numbers are rounded to, the last one of a burst not refused
for it. Marks do not move by it, so the rate holds."""


def count_one(marks: Sequence[float], windows: Sequence[tuple[int, float]], now: float) -> tuple[float, list[float]]:
    """Count one, if every limit allows it.

    Args:
        marks: Of each window; empty if there are none yet.
        windows: How many in how many seconds, at least one.
        now: By the same clock as the marks.

    Returns:
        0 and the new marks if it was counted, else the seconds until one may be, and the marks as they are.
    """
    gaps = [seconds / count for count, seconds in windows]
    # None is further ahead than its window, unless the clock was set back: nobody shall wait for all of that.
    marks = [
        min(max(mark, now), now + seconds + gap * _ROUNDING)
        for mark, (_, seconds), gap in zip(marks or [now] * len(windows), windows, gaps, strict=True)
    ]
    waits = [mark - now + gap - seconds for mark, (_, seconds), gap in zip(marks, windows, gaps, strict=True)]
    if any(wait > gap * _ROUNDING for wait, gap in zip(waits, gaps, strict=True)):
        return max(waits), marks
    return 0.0, [mark + gap for mark, gap in zip(marks, gaps, strict=True)]
