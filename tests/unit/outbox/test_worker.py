"""The worker's looks at the whole store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from smtpconnector_server.outbox.lease import Leases
from smtpconnector_server.outbox.worker import Worker
from smtpconnector_server.store.record import Swept

if TYPE_CHECKING:
    from collections.abc import Callable


class FullStore:
    """A store with more to be swept than fits into one look."""

    def __init__(self, looks: list[Swept]) -> None:
        self._looks = looks
        self.is_done = asyncio.Event()

    def on_change(self, listener: Callable[[str], None]) -> None:
        pass

    async def beat(self, owner: str, *, lease: float) -> None:
        pass

    async def leave(self, owner: str) -> None:
        pass

    async def due_lanes(self, *, limit: int) -> list[str]:
        return []

    async def sweep(self, *, retention: float, limit: int) -> Swept:
        if self._looks:
            return self._looks.pop(0)
        self.is_done.set()
        return Swept()


class IdleRunner:
    async def drain(self) -> None:
        pass

    async def release(self) -> None:
        pass


@pytest.mark.parametrize(
    "full_look",
    [Swept(requeued=300, uncertain=200), Swept(requeued=500), Swept(lapsed=500), Swept(purged=500)],
)
async def test_what_one_look_does_not_take_waits_for_no_pause(full_look: Swept) -> None:
    store = FullStore([full_look] * 100)
    worker = Worker(cast("Any", store), cast("Any", IdleRunner()), Leases(cast("Any", store)), retention=60.0)
    await worker.start()
    try:
        async with asyncio.timeout(30):  # with a pause after each look it would take 100 seconds
            await store.is_done.wait()
    finally:
        await worker.drain(within=0.0)
