"""Waiting for a message to change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from smtpconnector_server.outbox.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable


class HintingStore:
    """A store whose hints the test gives."""

    hint: Callable[[str], None]

    def on_change(self, listener: Callable[[str], None]) -> None:
        self.hint = listener


async def test_a_hint_wakes_all_who_wait_for_that_message() -> None:
    store = HintingStore()
    changes = Changes(cast("Any", store))
    waiting = [asyncio.ensure_future(changes.wait("a", within=60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    store.hint("b")
    store.hint("")
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    store.hint("a")

    await asyncio.gather(*waiting)


async def test_without_a_hint_one_looks_again_and_nothing_is_left_behind() -> None:
    changes = Changes(cast("Any", HintingStore()))

    await asyncio.gather(changes.wait("a", within=60.0), changes.wait("b", within=0.0), changes.wait("b", within=-1.0))

    assert not changes._waiting


async def test_who_is_cancelled_is_forgotten() -> None:
    changes = Changes(cast("Any", HintingStore()))
    waiting = asyncio.ensure_future(changes.wait("a", within=60.0))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert not changes._waiting


async def test_a_change_between_two_waits_is_not_missed() -> None:
    store = HintingStore()
    with Changes(cast("Any", store)).of("a") as changed:
        store.hint("a")
        waiting = asyncio.ensure_future(changed())
        for _ in range(5):
            await asyncio.sleep(0)
        assert waiting.done()
