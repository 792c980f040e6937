from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpconnector_server.rpc.rates import Rate, RateLimiter, parse_rates


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("", ()),
        ("5/minute", (Rate(5, 60),)),
        ("5/10minute, 20/day", (Rate(5, 600), Rate(20, 86400))),
        ("1/30s", (Rate(1, 30),)),
    ],
)
def test_reads_rates(text: str, rates: tuple[Rate, ...]) -> None:
    assert parse_rates(text) == rates


@pytest.mark.parametrize("text", ["5", "0/minute", "5/fortnight", "-1/s", "5/0s", "5 per minute"])
def test_says_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="a rate is COUNT/UNIT"):
        parse_rates(text)


def test_allows_a_burst_and_then_one_after_the_other() -> None:
    clock = Clock()
    limiter = RateLimiter((Rate(3, 60),), clock=clock)
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a") == pytest.approx(20)
    assert limiter.take("b") == 0
    clock.now += 20
    assert limiter.take("a") == 0
    assert limiter.take("a") == pytest.approx(20)


def test_what_one_rate_refuses_is_not_counted_by_another() -> None:
    clock = Clock()
    limiter = RateLimiter((Rate(1, 10), Rate(2, 1000)), clock=clock)
    assert limiter.take("a") == 0
    for _ in range(5):
        assert limiter.take("a") > 0
    clock.now += 10
    assert limiter.take("a") == 0


@given(steps=st.lists(st.floats(0, 30), max_size=60), count=st.integers(1, 5), seconds=st.integers(1, 60))
def test_never_allows_more_than_twice_the_count_in_any_window(steps: list[float], count: int, seconds: int) -> None:
    """A burst of the count on top of the steady rate is the algorithm's bound."""
    clock = Clock()
    limiter = RateLimiter((Rate(count, seconds),), clock=clock)
    taken = []
    for step in steps:
        clock.now += step
        if limiter.take("a") == 0:
            taken.append(clock.now)
    for start in taken:
        assert sum(start <= moment <= start + seconds for moment in taken) <= 2 * count


@given(steps=st.lists(st.floats(0, 30), max_size=30))
def test_the_wait_it_names_is_exact(steps: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter((Rate(2, 30), Rate(3, 100)), clock=clock)
    for step in steps:
        clock.now += step
        wait = limiter.take("a")
        if wait:
            clock.now += wait + 1e-6
            assert limiter.take("a") == 0
