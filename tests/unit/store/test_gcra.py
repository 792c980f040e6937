"""The algorithm of rates at the edges of numbers and clocks; tests/unit/rpc/test_rates.py has what it allows when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smtpconnector_server.store.gcra import count_one

NOW = st.floats(0.001, 4e9)
COUNT = st.integers(1, 50)
SECONDS = st.sampled_from([1.0, 30.0, 600.0, 3600.0, 86400.0])


@given(now=NOW, count=COUNT, seconds=SECONDS)
def test_a_burst_is_the_whole_count_and_no_more_whatever_the_time_is(now: float, count: int, seconds: float) -> None:
    marks: list[float] = []
    for _ in range(count):
        wait, marks = count_one(marks, [(count, seconds)], now)
        assert wait == 0.0
        marks = [round(mark * 1e6) / 1e6 for mark in marks]  # as a store keeps them
    wait, _ = count_one(marks, [(count, seconds)], now)
    assert wait > 0.98 * seconds / count


@given(now=st.floats(1e6, 4e9), count=COUNT, seconds=SECONDS, back=st.floats(0.0, 1e6))
def test_nobody_waits_for_a_clock_that_was_set_back(now: float, count: int, seconds: float, back: float) -> None:
    marks: list[float] = []
    for _ in range(count):
        _, marks = count_one(marks, [(count, seconds)], now)
    wait, _ = count_one(marks, [(count, seconds)], now - back)
    assert 0.0 < wait <= 1.02 * seconds / count
