"""An attempt that is stopped while the store notes that its last octet is about to leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.drafts import draft
from harness.kept import kept
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.outbox.lease import Lease
from smtpconnector_server.outbox.runner import Run, Runner
from smtpconnector_server.store.record import Claim
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import FenceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smtpconnector_server.store.record import Ending


class SlowStore:
    """A store that takes its time to note anything."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.seconds_left = 60.0
        self._is_taken_over = False

    def take_over(self) -> None:
        """Give the message to somebody else."""
        self._is_taken_over = True

    def on_change(self, listener: Callable[[str], None]) -> None:
        pass

    async def beat(self, owner: str, *, lease: float) -> None:
        pass

    async def commit(self, claim: Claim) -> float:
        self.is_asked.set()
        await self.may_answer.wait()
        if self._is_taken_over:
            raise FenceError(None)
        return self.seconds_left

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        return True


class EagerSender:
    """A sender whose own task writes the last octet as soon as it may, whoever is cancelled."""

    def __init__(self) -> None:
        self.has_left = False
        self.tasks: list[asyncio.Task[None]] = []

    async def send(self, mail: Any, *, within: float, on_commit: Callable[[], Awaitable[None]]) -> None:
        async def write() -> None:
            await on_commit()
            self.has_left = True

        self.tasks.append(asyncio.create_task(write()))
        await asyncio.wait(self.tasks)
        self.tasks[0].result()
        await asyncio.Event().wait()  # for a reply that does not come


class BrokenSender:
    """A sender whose first connection breaks right before the last octet, and which then tries another one."""

    def __init__(self) -> None:
        self.has_left = False
        self.on_break: Callable[[], None] = lambda: None

    async def send(self, mail: Any, *, within: float, on_commit: Callable[[], Awaitable[None]]) -> None:
        await on_commit()
        self.on_break()
        await on_commit()
        self.has_left = True


def _claim() -> Claim:
    return Claim(kept(), draft(0.0).sealed)


def give_up(run: Run) -> None:
    run.give_up(Failure(Reason.DEADLINE_EXCEEDED, "The deadline passed.", stage=Stage.STORE))


async def _attempt(store: SlowStore, sender: EagerSender | BrokenSender) -> Run:
    """Begin an attempt that a call waits for, and bring it to where the store is asked."""
    lease = Lease()
    await lease.renew(cast("Any", store))
    runner = Runner(cast("Any", store), cast("Any", None), cast("Any", sender), cast("Any", None))

    async def on_commit() -> None:
        pass

    run = runner.start(_claim(), lease, composed=cast("Any", _Composed()), on_commit=on_commit)
    await store.is_asked.wait()
    return run


@pytest.mark.parametrize(("stop", "state"), [(give_up, State.NOT_SENT), (Run.release, State.QUEUED)])
async def test_a_mail_does_not_leave_when_its_attempt_was_stopped_while_the_store_noted_that_it_would(
    stop: Callable[[Run], None], state: State
) -> None:
    store, sender = SlowStore(), EagerSender()
    run = await _attempt(store, sender)
    store.may_answer.set()  # the answer and the stop are there at the same time
    stop(run)
    end = await run.ending
    await asyncio.wait(sender.tasks)
    assert isinstance(sender.tasks[0].exception(), Failure)
    assert (end.state, sender.has_left) == (state, False)


async def test_a_mail_does_not_leave_when_it_has_expired_before_the_answer_of_the_store_was_there() -> None:
    store, sender = SlowStore(), EagerSender()
    store.seconds_left = 1e-9
    run = await _attempt(store, sender)
    store.may_answer.set()
    end = await run.ending
    assert (end.state, end.delay, sender.has_left) == (State.QUEUED, 0.0, False)  # for the sweep to end


async def test_a_mail_does_not_leave_on_another_connection_after_it_was_taken_over() -> None:
    store, sender = SlowStore(), BrokenSender()
    store.may_answer.set()
    sender.on_break = store.take_over
    run = await _attempt(store, sender)
    await asyncio.wait([run.task])
    assert (run.ending.cancelled(), sender.has_left) == (True, False)


class _Composed:
    class server:  # noqa: N801 - the attribute of a mail that says where it goes
        host = "smtp.example.com"
