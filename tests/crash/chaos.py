"""What a campaign does to its servers and their store.

Each harm is a coroutine of a few lines over one server. Those that end the server wait until it is gone; whoever called
starts it again. :data:`HARMS` says how often each comes.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from crash import tracer
from crash.sink import MARKS

if TYPE_CHECKING:
    from random import Random

    from crash.clock import Clock
    from crash.far_end import FarEnd
    from crash.load import Load
    from crash.servers import Server

FREEZE_SECONDS = 8.0
"""Longer than a lease, so that others take over."""
_ANSWERS_BETWEEN = 15
"""On the average, between a start and the next harm."""
_WORK_SECONDS = 3.0
"""The longest time for them."""
_MARK_SECONDS = 2.0
"""How long a server may take to come to the point where it is to be killed; then it is killed where it is."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a harm may use."""

    random: Random
    load: Load
    far_end: FarEnd
    clock: Clock | None
    """Of the servers, where it can be moved."""

    async def work(self) -> None:
        """Let the servers answer some calls, so that there is something to lose; how many is chance."""
        enough = self.load.heard + round(self.random.expovariate(1 / _ANSWERS_BETWEEN))
        give_up = time.monotonic() + _WORK_SECONDS
        while self.load.heard < enough and time.monotonic() < give_up:  # noqa: ASYNC110 - no event tells of a number
            await asyncio.sleep(0.005)


Harm: TypeAlias = Callable[[Scene, "Server"], Awaitable[None]]


async def kill_at_random(scene: Scene, server: Server) -> None:
    """SIGKILL, some time after the start."""
    await scene.work()
    await asyncio.sleep(scene.random.uniform(0, 0.1))
    await server.kill()


async def kill_at_stage(scene: Scene, server: Server) -> None:
    """SIGKILL when a session with the SMTP server comes to a stage."""
    await scene.work()
    scene.far_end.mark(server.name, scene.random.choice(MARKS), server.pid, skip=scene.random.choice((0, 0, 1, 3, 8)))
    if not await server.gone(within=_MARK_SECONDS):
        await scene.far_end.unmark(server.name)
        await server.kill()
    await server.gone()


async def kill_at_sync(scene: Scene, server: Server) -> None:
    """SIGKILL at a system call that makes the store durable, or writes to it."""
    await _kill_at_call(scene, server, scene.random.choice(tracer.STORE_CALLS))


async def kill_at_octets(scene: Scene, server: Server) -> None:
    """SIGKILL at a system call of the network: to callers, to the SMTP server, to PostgreSQL."""
    await _kill_at_call(scene, server, scene.random.choice(tracer.NETWORK_CALLS))


async def _kill_at_call(scene: Scene, server: Server, call: str) -> None:
    await scene.work()
    count = round(scene.random.expovariate(1 / 15)) + 1
    if not await tracer.kill_at(server, call, count, within=_MARK_SECONDS):
        await server.kill()
    await server.gone()


async def kill_at_start(scene: Scene, server: Server) -> None:
    """SIGKILL, and again while the next process starts: recovery is interrupted."""
    await server.kill()
    await server.start(until_ready=False)
    await asyncio.sleep(scene.random.uniform(0.3, 1.2))
    await server.kill()


async def terminate(scene: Scene, server: Server) -> None:
    """SIGTERM with a grace too short for what is under way."""
    await scene.work()
    await server.stop()


async def freeze(scene: Scene, server: Server) -> None:
    """SIGSTOP for longer than a lease, and SIGCONT; somebody else has its work by then."""
    await scene.work()
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(FREEZE_SECONDS)
    server.signal(signal.SIGCONT)
    await asyncio.sleep(1.0)


async def fill_disk(scene: Scene, server: Server) -> None:
    """No file can grow."""
    await scene.work()
    server.limit_files(1)
    await asyncio.sleep(scene.random.uniform(0.3, 1.5))
    server.limit_files(-1)


async def fail_sync(scene: Scene, server: Server) -> None:
    """The disk cannot make anything durable."""
    await tracer.fail(server, tracer.SYNC, "EIO", seconds=scene.random.uniform(0.3, 1.5))


async def fail_writes(scene: Scene, server: Server) -> None:
    """The disk is full, for writes within files too."""
    await tracer.fail(server, "pwrite64", "ENOSPC", seconds=scene.random.uniform(0.3, 1.5))


async def move_clock(scene: Scene, server: Server) -> None:
    """The clock of the machine jumps, an hour or a few seconds, ahead or back."""
    assert scene.clock is not None
    scene.clock.move(scene.random.choice((-3600.0, -30.0, -5.0, 0.0, 5.0, 30.0, 3600.0)))
    await asyncio.sleep(scene.random.uniform(0.5, 2.0))


HARMS: dict[str, tuple[Harm, float]] = {
    "kill": (kill_at_random, 5),
    "kill at stage": (kill_at_stage, 10),
    "kill at sync": (kill_at_sync, 5),
    "kill at octets": (kill_at_octets, 4),
    "kill at start": (kill_at_start, 1),
    "stop": (terminate, 1),
    "freeze": (freeze, 0.3),
    "disk full": (fill_disk, 0.5),
    "sync fails": (fail_sync, 0.5),
    "writes fail": (fail_writes, 0.5),
    "clock jumps": (move_clock, 1),
}
"""Each harm and its weight."""
KILLS = {"kill": 1, "kill at stage": 1, "kill at sync": 1, "kill at octets": 1, "kill at start": 2}
"""How many times SIGKILL comes with a harm."""
NEED_TRACER = frozenset({"kill at sync", "kill at octets", "sync fails", "writes fail"})
NEED_FILE = frozenset({"kill at sync", "disk full", "sync fails", "writes fail"})
"""Harms to a store that is a file of the server."""
FAIL_STORE = frozenset({"disk full", "sync fails", "writes fail", "restart", "power", "cut off", "network silent"})
"""Harms while which the store takes nothing."""
NEED_CLOCK = frozenset({"clock jumps"})
