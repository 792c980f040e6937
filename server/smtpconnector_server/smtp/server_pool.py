"""The sessions of one server with its credentials: lent, opened and closed as its slots and its breaker decide.

Every decision is made in one place, :meth:`ServerPool._act`, after every change; everything else only notes what
happened.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.breaker import Breaker, counts_against_account, repeated
from smtpconnector_server.smtp.course import Depth, plan
from smtpconnector_server.smtp.events import (
    BreakerClosed,
    BreakerOpened,
    PauseHeard,
    SessionClosed,
    SessionFailed,
    SessionOpened,
)
from smtpconnector_server.smtp.pace import Pace
from smtpconnector_server.smtp.pool_counts import PoolCounts
from smtpconnector_server.smtp.slots import Slots
from smtpconnector_server.smtp.step_times import StepTimes

if TYPE_CHECKING:
    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.breaker import Pause
    from smtpconnector_server.smtp.events import WireHook
    from smtpconnector_server.smtp.opening import Opener
    from smtpconnector_server.smtp.session import Session
    from smtpconnector_server.smtp.slots import Slot
    from smtpconnector_server.smtp.wire import Wire

_LEAVE_SECONDS: Final = 1.0
"""For servers to close after QUIT, when the pool is closed."""

_Waiter: TypeAlias = "asyncio.Future[Slot[Session]]"


class ServerPool:
    """The sessions of one server."""

    def __init__(self, server: Server, opener: Opener, hook: WireHook, *, first_pause: float) -> None:
        self._server = server
        self._opener = opener
        self._hook = hook
        self._loop = asyncio.get_running_loop()
        self._slots: Slots[Session, _Waiter] = Slots(server.pool, lambda session, why: session.wire.quit(why))
        self._pace = Pace(server.pool.rate_limit, server.pool.rate_seconds)
        self._breaker = Breaker(is_proven=server.auth is None, first_pause=first_pause)
        self._owed = 0
        """Openings that failed since one succeeded, and that nobody has heard of yet."""
        self._openings: dict[Slot[Session], asyncio.Task[None]] = {}
        self._times: dict[Slot[Session], StepTimes] = {}
        """Of the openings."""
        self._wires: set[Wire] = set()
        """Whose sockets are open."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._is_closing = False
        self._all_back = asyncio.Event()
        self.used_at = 0.0
        """When somebody asked for a session last, by the loop's clock."""

    @property
    def is_unused(self) -> bool:
        """Whether nobody has, waits for, or is about to get a session."""
        return self._slots.is_unused and not self._pace.waiting

    def counts(self) -> PoolCounts:
        """Count."""
        slots = self._slots
        return PoolCounts(
            idle=len(slots.idle),
            lent=len(slots.lent),
            opening=len(slots.opening),
            waiting=len(slots.waiting) + self._pace.waiting,
            open_breakers=int(not self._breaker.is_closed),
        )

    @property
    def stage(self) -> Stage:
        """What those wait for who have no session yet: the step at which the farthest opening is, or their turn."""
        steps = max((len(times.done) for times in self._times.values()), default=None)
        if steps is None:
            return Stage.POOL
        planned = plan(self._server, Depth.AUTHENTICATE)
        return planned[min(steps, len(planned) - 1)]

    async def borrow(self) -> Slot[Session]:
        """Wait for one's turn, where mails go at a rate, and for a session."""
        self.used_at = self._loop.time()
        await self._pace.wait()
        slots = self._slots
        if not (slots.waiting or self._is_closing):
            slot = slots.lend(self._loop.time())
            if slot is not None:
                return slot
        try:
            return await self._next_session()
        except BaseException:
            self._pace.give_back()
            raise

    async def _next_session(self) -> Slot[Session]:
        if self._is_closing:
            raise shutting_down(self._server)
        waiter: _Waiter = self._loop.create_future()
        self._slots.waiting.append(waiter)
        self._act()
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.take_back(waiter.result())  # lent in the very moment in which the caller gave up
            else:
                needless = self._slots.leave(waiter)
                if needless is not None:  # the next one shall not wait for what this one waited for in vain
                    self._openings[needless].cancel()
            raise

    def lend(self, slot: Slot[Session]) -> Session:
        """Return the session of a slot to the one who got it."""
        session = _session(slot)
        session.was_used = slot.leases > 1
        return session

    def take_back(self, slot: Slot[Session], error: BaseException | None = None) -> None:
        """Take a session back; if it is still open, it can be lent again.

        Args:
            slot: Its place.
            error: What ended the lease, if anything did.
        """
        session = _session(slot)
        if error is not None and not isinstance(error, Failure):
            # After a failure of a mail the session itself knows whether it is still in step with the server.
            session.wire.abort("interrupted")
        if session.is_open:
            self._slots.give_back(slot, self._loop.time())
        else:
            self._slots.remove(slot)
            if isinstance(error, Failure) and error.outcome is Outcome.NOT_SENT:
                self._pace.give_back()  # the connection broke; the mail may be tried again at once
            if session.was_used and session.is_stale:
                self._slots.close_idle("not needed")  # whoever tries again must not meet the next stale one
        self._act()

    async def close(self, grace: float) -> None:
        """Close all sessions, the lent ones after some seconds of grace."""
        self._is_closing = True
        self._pace.close()
        openings = list(self._openings.values())
        for opening in openings:
            opening.cancel()
        while self._slots.waiting:
            self._fail_first(shutting_down(self._server))
        self.disband()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._slots.lent:
                    self._all_back.clear()
                    await self._all_back.wait()
        for slot in self._slots:
            if slot.session is not None:
                slot.session.wire.abort("shutting down")
        await asyncio.gather(*openings, return_exceptions=True)
        gone = [wire.gone for wire in self._wires]
        if gone:
            await asyncio.wait(gone, timeout=_LEAVE_SECONDS)
            for wire in self._wires:
                wire.abort("shutting down")
            await asyncio.wait(gone, timeout=_LEAVE_SECONDS)

    def disband(self) -> None:
        """Close the sessions that nobody uses."""
        self._slots.close_idle("not needed")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = math.inf

    def _act(self) -> None:
        """Do what is possible and due after a change."""
        now = self._loop.time()
        if self._slots.waiting:
            self._serve_waiting(now)
        if self._is_closing:
            self.disband()
            self._all_back.set()
        else:
            self._set_timer(now)

    def _serve_waiting(self, now: float) -> None:
        slots = self._slots
        while slots.waiting and (slot := slots.lend(now)) is not None:
            waiter = slots.waiting.popleft()
            if waiter.done():  # cancelled, and still in the queue
                slots.take_from(slot)
            else:
                waiter.set_result(slot)
        if not slots.waiting or self._is_closing:
            return
        for slot in slots.open(self._breaker.openings(now, len(slots.opening))):
            opening = self._openings[slot] = asyncio.create_task(self._open(slot), name="smtp-session-opening")
            opening.add_done_callback(partial(self._forget_unbegun, slot))
        refusal = self._breaker.refusal(now)
        if refusal is not None and not slots:
            while slots.waiting:
                self._fail_first(refusal)

    def _set_timer(self, now: float) -> None:
        """Come back when the next session wears out, or when one may be tried again for those who wait."""
        # A timer that is early only looks, and comes back; one that is late finds a session old some seconds later.
        when = self._slots.next_change() if self._timer is None else None
        pause_ends = self._breaker.pause_ends
        if self._slots.waiting and pause_ends is not None and pause_ends > now:
            when = min(pause_ends, when or math.inf)
        if when is not None and when < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = max(now, when)
            self._timer = self._loop.call_at(self._timer_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        self._slots.close_worn_out(self._loop.time())
        self._act()

    async def _open(self, slot: Slot[Session]) -> None:
        times = self._times[slot] = StepTimes(self._loop.time)
        try:
            session = await self._opener.open(self._server, on_step=times.note)
        except Failure as failure:
            self._slots.remove(slot)
            times.note(failure.stage)
            self._hook(SessionFailed(self._server.host, self._server.port, times.seconds, failure, times.done))
            self._note_failure(failure)
        except BaseException as error:
            self._slots.remove(slot)
            if not (isinstance(error, Exception) and self._fail_first(error)):
                raise
        else:
            self._note_success(slot, session, times)
        finally:
            del self._openings[slot]
            del self._times[slot]
            self._act()

    def _forget_unbegun(self, slot: Slot[Session], _opening: asyncio.Task[None]) -> None:
        """Give up the place of an opening that was cancelled before its first step: none of :meth:`_open` has run."""
        if self._openings.pop(slot, None) is not None:
            self._slots.remove(slot)
            self._act()

    def _note_success(self, slot: Slot[Session], session: Session, times: StepTimes) -> None:
        host, port = self._server.host, self._server.port
        self._hook(SessionOpened(host, port, times.seconds, session.capabilities, times.done))
        self._wires.add(session.wire)
        session.wire.gone.add_done_callback(lambda _gone: self._wires.discard(session.wire))
        session.wire.on_closed = lambda why: self._note_end(slot, session, why)
        if not self._breaker.is_closed:
            self._hook(BreakerClosed(host, port))
        self._breaker.succeed()
        self._owed = 0
        self._slots.fill(slot, session, self._loop.time())

    def _note_failure(self, failure: Failure) -> None:
        pause = self._breaker.fail(failure, self._loop.time())
        if pause:
            self._hook(BreakerOpened(self._server.host, self._server.port, pause, failure))
        # While there are other sessions, those who wait can have one of them: perhaps the provider allows no more.
        self._owed += 1
        if not self._slots:
            for _ in range(self._owed):
                self._fail_first(failure)
            self._owed = 0

    @property
    def own_pause(self) -> Pause | None:
        """The pause that failures here have begun, by the event loop's clock."""
        return self._breaker.own_pause

    @property
    def is_trusted(self) -> bool:
        """Whether the server is thought to work."""
        return self._breaker.is_closed

    def hear(self, reason: Reason, pause: float) -> None:
        """Take that another process has begun a pause, unless sessions that are open here speak against it."""
        if self._is_closing or (self._wires and not counts_against_account(reason)):
            return
        host, port = self._server.host, self._server.port
        seconds = self._breaker.hear(_met_elsewhere(reason, host), pause, self._loop.time())
        if seconds:
            self._hook(PauseHeard(host, port, seconds, reason))
            self._act()

    def relieve(self) -> None:
        """Take that another process has a session again."""
        if self._is_closing:
            return
        self._breaker.relieve(self._loop.time())
        self._act()

    def _note_end(self, slot: Slot[Session], session: Session, why: str) -> None:
        self._hook(SessionClosed(self._server.host, self._server.port, why, session.messages))
        self._slots.idle.pop(slot, None)

    def _fail_first(self, error: Exception) -> bool:
        """Give up for the one who waits longest. Return whether there was one."""
        while self._slots.waiting:
            waiter = self._slots.waiting.popleft()
            if not waiter.done():
                waiter.set_exception(repeated(error) if isinstance(error, Failure) else error)
                return True
        return False


def _session(slot: Slot[Session]) -> Session:
    if slot.session is None:
        raise RuntimeError("a slot without a session was lent")
    return slot.session


def _met_elsewhere(reason: Reason, host: str) -> Failure:
    return Failure(
        reason,
        "Another process of this service met this a moment ago; the SMTP server is left alone for a while.",
        stage=Stage.POOL,
        host=host,
    )


def shutting_down(server: Server) -> Failure:
    """Return the failure of those who come, or still wait, when all is about to stop."""
    return Failure(Reason.SHUTTING_DOWN, "The server is about to stop. Try again.", stage=Stage.POOL, host=server.host)
