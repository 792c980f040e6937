"""The outbox: accepts messages durably, once for each request id, and waits for the end of those that are waited for.

Nothing is answered before it is durable: neither that a message was accepted, nor that it was not sent. What the outbox
does not know when a call must be answered, it says it does not know.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

import structlog

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.outbox import answer
from smtpconnector_server.outbox.answer import Receipt, final_answer, queued, receipt
from smtpconnector_server.outbox.drafts import Drafts
from smtpconnector_server.outbox.events import MessageAccepted, tell_nobody
from smtpconnector_server.outbox.runner import Run
from smtpconnector_server.store.record import Claim, Kept
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from smtpconnector_server.outbox.changes import Changes
    from smtpconnector_server.outbox.events import OutboxHook
    from smtpconnector_server.outbox.lease import Leases
    from smtpconnector_server.outbox.order import Wanted
    from smtpconnector_server.outbox.worker import Worker
    from smtpconnector_server.store.sealing import Sealer
    from smtpconnector_server.store.store import Store

    OnCommit = Callable[[], Awaitable[None]]

_END_SECONDS: Final = 0.2
"""What is kept of a call's time for writing down that its message was not sent."""
_END_SHARE: Final = 0.1
_ACCEPT_SECONDS: Final = 3.0
"""For the store to take, when the server stops, what it was given."""
_ASK_AGAIN_SECONDS: Final = 0.2
"""Between two questions to a store that cannot be reached."""
_OF_THE_CALL: Final = frozenset({Reason.CANCELLED, Reason.DEADLINE_EXCEEDED, Reason.SHUTTING_DOWN})
"""Why a message was not sent that says nothing of the message, but of the call or the server that had it."""

_T = TypeVar("_T")
_log = structlog.get_logger()


class Outbox:
    """Takes messages.

    Args:
        store: Keeps them.
        sealer: Seals their content.
        worker: Sends them.
        leases: The names under which this server claims them.
        changes: Tells when the state of a message may have changed.
        hook: Told what was accepted.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        worker: Worker,
        leases: Leases,
        changes: Changes,
        *,
        hook: OutboxHook = tell_nobody,
    ) -> None:
        self._store = store
        self._drafts = Drafts(sealer)
        self._worker = worker
        self._leases = leases
        self._changes = changes
        self._hook = hook
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def enqueue(self, wanted: Wanted, *, within: float) -> Receipt:
        """Accept a message durably.

        Args:
            wanted: The message.
            within: Seconds until the caller must have an answer.

        Raises:
            Failure: It was not accepted, or (outcome UNKNOWN) nobody can know.
        """
        ends = _clock() + within
        while True:
            accepted = await self._whole(self._accept(wanted), wanted, ends, late=lambda _receipt: None)
            if accepted is not None:
                return accepted
            await _pause(ends)

    async def send(self, wanted: Wanted, *, within: float, on_commit: OnCommit) -> Receipt:
        """Send a message and wait for its end, or join whoever is sending it.

        Args:
            wanted: The message.
            within: Seconds until the caller must have an answer.
            on_commit: As for :meth:`.delivery.sender.Sender.send`.

        Raises:
            Failure: The SMTP server did not accept the message, or its end is unknown.
        """
        ends = _clock() + within
        joined: Kept | None = None
        while True:
            begin = self._begin(wanted, joined, ends, on_commit)
            found = await self._whole(begin, wanted, ends, late=_cancel)
            if found is None:
                await _pause(ends)
                continue
            if isinstance(found, Run):
                ended = await self._end(found, wanted, ends)
                joined = found.claim.kept
                if ended is None:
                    continue
                found = ended
            if found.state.is_final:
                return final_answer(found)
            joined = found
            await self._changes.wait(joined.id, within=ends - _clock())

    async def drain(self, within: float) -> None:
        """Let what was begun end for some seconds, and give back the rest. No calls may come any more."""
        ends = _clock() + within
        self._worker.stop_claiming()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(_ACCEPT_SECONDS, within))
        await self._worker.drain(ends - _clock())

    async def _accept(self, wanted: Wanted) -> Receipt | None:
        """Put a message into the queue, or in hand where there is room; None: the store is away, ask again."""
        async with self._turn(wanted):
            with self._worker.place(wanted.lane) as has_room:
                try:
                    kept = await self._kept(wanted, None)
                    if kept is not None:
                        return receipt(kept)
                    _require_time(wanted)
                    lease = await self._leases.current() if has_room else None
                except StoreError as error:
                    _away(error, wanted, None)
                    return None
                composed = await wanted.compose(None)
                await wanted.admit()
                draft = self._drafts.make(wanted, composed)
                try:
                    accepted = await self._store.accept(draft, owner=lease.owner if lease else None)
                except StoreError as error:
                    self._doubt(error, wanted)
                    return None
                if not isinstance(accepted, Kept):
                    self._hook(MessageAccepted(draft.id, draft.profile, draft.mode))
                if isinstance(accepted, Claim) and lease is not None:
                    self._worker.begin(accepted, lease, composed=composed)
                    return receipt(accepted.kept)
        return receipt(self._drafts.same(accepted, wanted)) if isinstance(accepted, Kept) else queued(draft)

    async def _begin(self, wanted: Wanted, joined: Kept | None, ends: float, on_commit: OnCommit) -> Run | Kept | None:
        """Take a message in hand that a call waits for, unless somebody else has it or it has its end.

        Args:
            wanted: The message.
            joined: What this call has waited for so far.
            ends: The end of the call's time.
            on_commit: As for :meth:`send`.

        Returns:
            The attempt, or what is kept of the message; None: the store is away or somebody else was faster, ask again.
        """
        async with self._turn(wanted):
            try:
                kept = await self._kept(wanted, joined)
                if kept is not None and not _is_to_be_tried(kept, has_joined=joined is not None):
                    return kept
                _require_time(wanted)
                lease = await self._leases.current()
            except StoreError as error:
                _away(error, wanted, joined)
                return None
            composed = await wanted.compose(kept.message_id if kept is not None else None)
            if kept is None:
                await wanted.admit()
            draft = self._drafts.make(wanted, composed, ends_in=ends - _clock(), kept=kept)
            try:
                if kept is None:
                    claim = await self._store.accept(draft, owner=lease.owner)
                else:
                    claim = await self._store.reopen(draft, kept, owner=lease.owner)
            except StoreError as error:
                self._doubt(error, wanted)
                return None
        if not isinstance(claim, Claim):
            return None
        self._hook(MessageAccepted(draft.id, draft.profile, draft.mode))
        return self._worker.begin(claim, lease, composed=composed, on_commit=on_commit)

    async def _end(self, run: Run, wanted: Wanted, ends: float) -> Kept | None:
        """Wait for the end of an attempt; give it up when it is too late, and in time to say so.

        Returns:
            What became of the message; None: somebody else has decided that.

        Raises:
            Failure: It was not accepted, or nobody knows yet.
        """
        gives_up = ends - min(_END_SECONDS, (ends - _clock()) * _END_SHARE)
        if wanted.order.expires_at is not None:
            gives_up = min(gives_up, _clock() + wanted.order.expires_at - time.time())
        try:
            await asyncio.wait({run.ending}, timeout=max(0.0, gives_up - _clock()))
            if not run.ending.done():
                run.give_up(_late(wanted))
                await asyncio.wait({run.ending}, timeout=max(0.0, ends - _clock()))
        except asyncio.CancelledError:
            _cancel(run)
            raise
        if run.ending.cancelled():
            return None
        # True whatever the store says later: a success is better told than kept back, once there is no time left.
        end = run.ending.result() if run.ending.done() else run.accepted
        if end is None:
            raise answer.uncertain(run.host) if run.is_committed else answer.pending()
        kept = dataclasses.replace(run.claim.kept, state=end.state, last=end.attempt)
        if kept.state.is_final and run.failure is not None:
            raise answer.failed(kept, run.failure.retry_after)
        return kept

    async def _kept(self, wanted: Wanted, joined: Kept | None) -> Kept | None:
        """Return what is kept of a message.

        Raises:
            Failure: REQUEST_ID_CONFLICT; DELIVERY_PENDING, if what was joined is kept no more.
            StoreError: The store cannot be asked.
        """
        if joined is not None:
            kept = await self._store.get(joined.id)
            if kept is None:
                raise answer.pending()
            return kept
        request_hash = self._drafts.request_hash(wanted)
        kept = await self._store.find(request_hash) if request_hash is not None else None
        return self._drafts.same(kept, wanted) if kept is not None else None

    async def _whole(
        self, work: Coroutine[Any, Any, _T], wanted: Wanted, ends: float, *, late: Callable[[_T], None]
    ) -> _T:
        """Do what must not be left half done when the call is cancelled or its time is over.

        Args:
            work: What is to be done.
            wanted: The message.
            ends: The end of the call's time.
            late: Told the result that the call is not there for any more.

        Raises:
            Failure: That of the work; or the time is over, and nobody can know what it will come to.
        """
        task = asyncio.create_task(work, name="outbox-accept")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout_at(ends):
                return await asyncio.shield(task)
        except TimeoutError:
            task.add_done_callback(lambda ended: _tell_late(ended, late))
            raise answer.pending() if wanted.order.request_id else answer.half_accepted() from None
        except asyncio.CancelledError:
            task.add_done_callback(lambda ended: _tell_late(ended, late))
            raise

    def _turn(self, wanted: Wanted) -> asyncio.Lock:
        """Return what lets the requests of one id begin one after the other: only the first one is counted."""
        return self._turns.setdefault(self._drafts.request_hash(wanted) or secrets.token_bytes(16), asyncio.Lock())

    def _doubt(self, error: StoreError, wanted: Wanted) -> None:
        """Take note that the store failed while it accepted a message.

        Raises:
            Failure: The request has no id, with which the store could be asked again what it did.
        """
        _log.warning("store_failed", doing="accept", error=str(error), is_certain=error.is_certain)
        if not error.is_certain:
            self._leases.retire()
        if not wanted.order.request_id:
            raise answer.unavailable() if error.is_certain else answer.half_accepted()


async def _pause(ends: float) -> None:
    """Wait a moment before the store is asked again.

    Raises:
        Failure: DELIVERY_PENDING: the call has no time left.
    """
    if _clock() + _ASK_AGAIN_SECONDS >= ends:
        raise answer.pending()
    await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _away(error: StoreError, wanted: Wanted, joined: Kept | None) -> None:
    """Take note that the store cannot be asked.

    Raises:
        Failure: STORE_UNAVAILABLE: nothing of the request can be in the store.
    """
    _log.warning("store_failed", doing="find", error=str(error))
    if joined is None and not wanted.order.request_id:
        raise answer.unavailable()


def _is_to_be_tried(kept: Kept, *, has_joined: bool) -> bool:
    """Tell whether a message that was not sent is tried anew: not if that is the end which this call waited for."""
    return kept.state is State.NOT_SENT and not (has_joined and kept.last.reason not in _OF_THE_CALL)


def _tell_late(task: asyncio.Task[_T], late: Callable[[_T], None]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is None:
        late(task.result())
    elif not isinstance(error, Failure):
        _log.error("outbox_broke", doing="accept", error_type=type(error).__qualname__)


def _cancel(run: Run | Kept | None) -> None:
    if isinstance(run, Run):
        run.give_up(Failure(Reason.CANCELLED, "The caller has gone before the message was sent.", stage=Stage.STORE))


def _require_time(wanted: Wanted) -> None:
    """Refuse to begin with a message that is of no use any more; a repeat of one that was begun in time is answered.

    Raises:
        Failure: DELIVERY_EXPIRED.
    """
    expires_at = wanted.order.expires_at
    if expires_at is not None and time.time() >= expires_at:
        raise answer.expired()


def _late(wanted: Wanted) -> Failure:
    expires_at = wanted.order.expires_at
    if expires_at is not None and time.time() >= expires_at:
        return answer.expired()
    return Failure(
        Reason.DEADLINE_EXCEEDED,
        "The deadline passed before the message was sent. Allow more time, or see by ValidateConfig where the server is"
        " slow.",
        stage=Stage.STORE,
    )


def _clock() -> float:
    return asyncio.get_running_loop().time()
