"""The generic cell rate algorithm (ITU-T I.371) against several limits at once, as a pure function.

One number a limit, its mark: the moment when its bucket is empty again. A burst of the whole count is allowed, then one
after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def count_one(marks: Iterable[float], windows: Sequence[tuple[int, float]], now: float) -> tuple[float, list[float]]:
    """Count one, if every limit allows it.

    Args:
        marks: Of each window; empty if there are none yet.
        windows: How many in how many seconds, at least one.
        now: By the same clock as the marks.

    Returns:
        0 and the new marks if it was counted, else the seconds until one may be, and the marks as they are.
    """
    marks = [max(mark, now) for mark in marks] or [now] * len(windows)
    wait = max(mark + seconds / count - seconds - now for mark, (count, seconds) in zip(marks, windows, strict=True))
    if wait > 0:
        return wait, marks
    return 0.0, [mark + seconds / count for mark, (count, seconds) in zip(marks, windows, strict=True)]
