"""One attempt to send one message of the store: from the claim to an end that is durable.

The order of the instants is the guarantee: the store notes that the last octet is about to leave before it leaves, and
notes the end before anybody is told of it. Whoever holds a claim that has gone to somebody else learns it at the first
of these, and stops.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.outbox import ending, events
from smtpconnector_server.outbox.answer import unavailable
from smtpconnector_server.outbox.events import tell_nobody
from smtpconnector_server.outbox.parcel import Parcel
from smtpconnector_server.store.keyring import UnsealError
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import FenceError, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smtpconnector_server.config.source import Source
    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.delivery.prepared import Prepared
    from smtpconnector_server.delivery.sender import Sender
    from smtpconnector_server.outbox.events import OutboxHook
    from smtpconnector_server.outbox.lease import Lease
    from smtpconnector_server.store.record import Claim, Ending
    from smtpconnector_server.store.sealing import Sealer
    from smtpconnector_server.store.store import Store

_MAX_SECONDS: Final = 900.0
"""For one attempt: more than the ten minutes that the reply to a message may take (RFC 5321, section 4.5.3.2.6)."""
_FINISH_AGAIN_SECONDS: Final = 0.5
"""Between two tries to write an end down."""
_RELEASE_SECONDS: Final = 3.0
"""For the store to take note of what a stopping server leaves behind."""

_log = structlog.get_logger()


class Run:
    """One attempt, in a task of its own."""

    def __init__(self, claim: Claim, lease: Lease, *, is_waited_for: bool) -> None:
        self.claim = claim
        self.lease = lease
        self.host = ""
        """The SMTP server, once it is known."""
        self.is_committed = False
        """Whether the last octet may have left."""
        self.failure: Failure | None = None
        """Why the message was not accepted."""
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        """The end, once it is durable. Cancelled: somebody else has decided what becomes of the message."""
        self.accepted: Ending | None = None
        """The end that the SMTP server has accepted the message, which the store cannot take just now."""
        self.is_waited_for = is_waited_for
        self.given_up: Failure | None = None
        """Why the attempt was stopped from outside, if it was for good."""
        self.is_stopped = False
        """Whether the last octet must not leave any more; the end of the attempt says that it has not."""
        self.is_sending = False
        self.task: asyncio.Task[None]

    def give_up(self, failure: Failure) -> None:
        """End the attempt with a failure, unless its last octet may have left or it has an end already."""
        if not self.is_committed:
            self.given_up = failure
            self.release()

    def release(self) -> None:
        """End the attempt for another server to go on, or as uncertain where its last octet may have left."""
        self.is_stopped = True
        if self.is_sending:  # a task that is cancelled before its first step would never note an end
            self.task.cancel()


class Runner:
    """Makes attempts.

    Args:
        store: Where the ends are written.
        sealer: Opens what was sealed.
        sender: Sends.
        prepare: Returns a configuration as it is now; raises Failure.
        hook: Told of attempts and how they end.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        sender: Sender,
        prepare: Callable[[Source], Prepared],
        *,
        hook: OutboxHook = tell_nobody,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._sender = sender
        self._prepare = prepare
        self._hook = hook
        self._runs: set[Run] = set()
        self._newest: dict[str, Run] = {}
        """Of each message."""
        self._checks: set[asyncio.Task[None]] = set()
        store.on_change(self._on_change)

    def start(
        self,
        claim: Claim,
        lease: Lease,
        *,
        composed: Composed | None = None,
        on_commit: Callable[[], Awaitable[None]] | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> Run:
        """Begin an attempt.

        Args:
            claim: The right to make it.
            lease: Under which it was claimed.
            composed: The mail, where it is at hand. None: it is taken out of its seal.
            on_commit: Awaited before the last octet leaves, for a call that waits. None: nobody waits.
            then: Called when the attempt has ended.
        """
        run = Run(claim, lease, is_waited_for=on_commit is not None)
        run.task = asyncio.create_task(self._attempt(run, composed, on_commit), name="outbox-attempt")
        self._runs.add(run)
        self._newest[claim.kept.id] = run

        def ended(_task: asyncio.Task[None]) -> None:
            self._runs.discard(run)
            if self._newest.get(claim.kept.id) is run:
                del self._newest[claim.kept.id]
            if not run.ending.done():
                run.ending.cancel()
            then()

        run.task.add_done_callback(ended)
        return run

    @property
    def under_way(self) -> int:
        """How many attempts are being made."""
        return len(self._runs)

    async def drain(self) -> None:
        """Wait for every attempt that is being made."""
        while self._runs:
            await asyncio.wait([run.task for run in self._runs])

    async def release(self) -> None:
        """Stop every attempt: what has not left goes back to the queue, what may have left is said to be uncertain."""
        runs = list(self._runs)
        for run in runs:
            run.release()
        if runs:
            _, silent = await asyncio.wait([run.task for run in runs], timeout=_RELEASE_SECONDS)
            for task in silent:
                task.cancel()  # the store is away: what is left is taken over when the lease has ended
            await asyncio.gather(*silent, return_exceptions=True)

    async def _attempt(
        self, run: Run, composed: Composed | None, on_commit: Callable[[], Awaitable[None]] | None
    ) -> None:
        kept = run.claim.kept
        started = time.monotonic()
        self._hook(events.started(kept))
        try:
            end = _stopped(run) if run.is_stopped else await self._outcome(run, composed, on_commit)
        except FenceError as fence:
            self._hook(events.lost(kept, fence.kept))
            return  # somebody else has the message, and tells what becomes of it
        if not await self._finish(run, end):
            self._hook(events.lost(kept, None))
            return
        self._hook(events.ended(kept, end, time.monotonic() - started))
        if not run.ending.done():
            run.ending.set_result(end)

    async def _outcome(
        self, run: Run, composed: Composed | None, on_commit: Callable[[], Awaitable[None]] | None
    ) -> Ending:
        """Send, and return what becomes of the message, whatever happens.

        Raises:
            FenceError: Somebody else has decided that.
        """
        kept = run.claim.kept
        run.is_sending = True
        try:
            return await self._send(run, composed, on_commit)
        except Failure as failure:
            if run.is_stopped and not run.is_committed:
                return _stopped(run)
            run.failure = failure
        except asyncio.CancelledError:
            if not run.is_stopped:
                raise
            return _stopped(run)
        except FenceError:
            raise
        except Exception as error:  # noqa: BLE001 - or the message would be in hand as long as this server lives
            _log.error("attempt_broke", error_type=type(error).__qualname__)
            run.failure = ending.broken(is_committed=run.is_committed)
        finally:
            run.is_sending = False
        return ending.failed(run.failure, kept, is_waited_for=run.is_waited_for)

    async def _send(
        self, run: Run, composed: Composed | None, on_commit: Callable[[], Awaitable[None]] | None
    ) -> Ending:
        instead: Ending | FenceError | None = None

        async def commit() -> None:
            nonlocal instead
            run.is_committed = False  # asked again: on the connection before, the last octet did not leave after all
            if on_commit is not None:
                await on_commit()
            instead = await self._commit(run)
            if instead is not None:
                raise _taken()
            run.is_committed = True

        try:
            mail = composed or self._unpacked(run.claim)
            run.host = mail.server.host
            result = await self._sender.send(mail, within=_MAX_SECONDS, on_commit=commit)
        except Failure:
            if instead is None:
                raise
            if isinstance(instead, FenceError):
                raise instead from None
            return instead
        return ending.sent(result, mail.server.host)

    async def _commit(self, run: Run) -> Ending | FenceError | None:
        """Have the store note that the last octet is about to leave.

        Returns:
            What becomes of the message instead; None: it may leave at once.

        Raises:
            Failure: It must not leave in this attempt.
        """
        asked = time.monotonic()  # goes on while the process is stopped
        try:
            seconds_left = await self._store.commit(run.claim)
        except FenceError as fence:
            return ending.lapsed() if _is_ours(fence, run.claim) else fence
        except StoreError as error:
            _log.warning("store_failed", doing="commit", error=str(error))
            raise unavailable() from None
        if not run.lease.is_fresh:
            # Frozen since the store answered: another server may say of this message that its end is unknown.
            raise unavailable()
        if time.monotonic() - asked >= seconds_left:  # the answer was long on its way
            return ending.lapsed()
        if run.is_stopped:  # while the store was noting it
            raise _taken()
        return None

    def _unpacked(self, claim: Claim) -> Composed:
        try:
            parcel = Parcel(self._sealer.open(claim.kept.id, claim.sealed))
        except UnsealError as error:
            raise Failure(
                Reason.STORE_UNAVAILABLE, f"The kept message cannot be read: {error}", stage=Stage.STORE
            ) from None
        return parcel.addressed(self._prepare(parcel.source))

    async def _finish(self, run: Run, end: Ending) -> bool:
        """Write an end down, however long the store takes to come back; return whether it was taken."""
        while True:
            try:
                return await self._store.finish(run.claim, end)
            except StoreError as error:
                _log.warning("store_failed", doing="finish", error=str(error))
            if end.state is State.SENT:
                run.accepted = end
            await asyncio.sleep(_FINISH_AGAIN_SECONDS)

    def _on_change(self, delivery_id: str) -> None:
        run = self._newest.get(delivery_id)
        if run is not None and run.is_sending and not run.is_committed:
            check = asyncio.create_task(self._check(run), name="outbox-check")
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    async def _check(self, run: Run) -> None:
        """Stop an attempt whose message was cancelled or superseded: it would end at its last octet anyway."""
        try:
            kept = await self._store.get(run.claim.kept.id)
        except StoreError:
            return
        if not _is_ours(FenceError(kept), run.claim):
            run.release()


def _stopped(run: Run) -> Ending:
    if run.given_up is None:
        return ending.released(is_committed=run.is_committed, kept=run.claim.kept)
    run.failure = run.given_up
    return ending.failed(run.given_up, run.claim.kept, is_waited_for=run.is_waited_for)


def _taken() -> Failure:
    return Failure(Reason.CANCELLED, "Somebody else has taken the message.", stage=Stage.STORE)


def _is_ours(fence: FenceError, claim: Claim) -> bool:
    """Tell whether the message is still in hand by this very claim, so that only its time can be over."""
    kept = fence.kept
    return kept is not None and kept.state is State.SENDING and kept.attempt == claim.kept.attempt
