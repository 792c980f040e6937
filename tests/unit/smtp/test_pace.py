from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from smtpconnector_server.smtp.pace import Pace


class Clock:
    """The real one, which remembers what it said last: the moment in which the last one went."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self) -> float:
        self.last = time.monotonic()
        return self.last


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_any_stretch_of_time_sees_at_most_so_many_and_in_order() -> None:
    clock = Clock()
    pace = Pace(3, 0.05, clock=clock)
    gone: list[tuple[int, float]] = []

    async def go(number: int) -> None:
        await pace.wait()
        gone.append((number, clock.last))

    await asyncio.gather(*(go(number) for number in range(11)))
    assert [number for number, _ in gone] == list(range(11))
    for (_, first), (_, fourth) in zip(gone, gone[3:], strict=False):
        assert fourth - first >= 0.05
    assert pace.waiting == 0


async def test_without_a_limit_nobody_waits() -> None:
    pace = Pace(0, 3600)
    for _ in range(100):
        async with asyncio.timeout(0):
            await pace.wait()
    pace.give_back()


async def test_whoever_gives_up_leaves_its_turn_to_the_next() -> None:
    pace = Pace(1, 3600)
    await pace.wait()
    first, second = (asyncio.create_task(pace.wait()) for _ in range(2))
    await settle()
    assert pace.waiting == 2
    first.cancel()
    await settle()
    assert pace.waiting == 1
    second.cancel()
    with suppress(asyncio.CancelledError):
        await second
    assert pace.waiting == 0


@pytest.mark.parametrize("gone_before", [0, 2])
async def test_what_is_given_back_may_go_at_once(gone_before: int) -> None:
    now = 0.0
    pace = Pace(2, 10, clock=lambda: now)
    for _ in range(gone_before):
        await pace.wait()
    now = 10.0
    for _ in range(2):
        await pace.wait()
    pace.give_back()
    async with asyncio.timeout(0):
        await pace.wait()
    waiting = asyncio.create_task(pace.wait())
    await settle()
    assert not waiting.done()
    waiting.cancel()


async def test_nobody_waits_for_one_that_is_closed() -> None:
    pace = Pace(1, 3600)
    await pace.wait()
    waiting = [asyncio.create_task(pace.wait()) for _ in range(3)]
    await settle()
    pace.close()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
