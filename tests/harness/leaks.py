"""Whether anything is left behind: sockets of this process and tasks of this loop."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SETTLING_SECONDS = 5.0
"""Transports close in later rounds of the loop, TLS ones after some of them."""


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail if sockets or tasks outlive the context that were not there before."""
    gc.collect()
    sockets, tasks = _sockets(), asyncio.all_tasks()
    yield
    gc.collect()  # what a collected object would have closed was left behind by its owner, and warns
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SETTLING_SECONDS
    while (_sockets() - sockets or asyncio.all_tasks() - tasks) and loop.time() < deadline:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)
    assert _sockets() - sockets == set()
    assert asyncio.all_tasks() - tasks == set()


def _sockets() -> set[str]:
    """The inodes of all sockets of this process; unlike descriptors they are not used twice."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if target.startswith("socket:"):
            found.add(target)
    return found
