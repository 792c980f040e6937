"""Delivery: one message to one outcome.

A caller who gives up before the last octet of the message leaves stops it, and its connection is aborted in the middle
of whatever it was doing. A message whose last octet is on its way is never cut off: a task of its own takes over and
goes on reading for the reply (up to ten minutes, RFC 5321, section 4.5.3.2.6) while the caller is told that the outcome
is unknown.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from smtpconnector_server.delivery.events import SENT, MailEnded, MailSettled
from smtpconnector_server.delivery.retry import may_retry
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smtpconnector_server.config.origin import Origin
    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.delivery.events import DeliveryHook
    from smtpconnector_server.smtp.pool import Lease, SessionPool
    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.session import Session


@value_object()
class Sent:
    """The SMTP server accepted the message."""

    reply: Reply
    attempts: int
    """Connections tried, 1 or more."""


class _Sending:
    """One message on its way: its attempts, and whether its last octet may have left."""

    def __init__(self, composed: Composed, pool: SessionPool, on_commit: Callable[[], Awaitable[None]]) -> None:
        mail = composed.mail
        self.profile = composed.profile
        self.server = composed.server
        self._envelope = Envelope(
            sender=mail.sender, recipient=mail.recipient, smtputf8=mail.needs_smtputf8, dsn=composed.dsn
        )
        self._octets = mail.octets
        self._pool = pool
        self._on_commit = on_commit
        self._lease: Lease | None = None
        self._session: Session | None = None
        """The one of this attempt."""
        self.attempts = 0

    async def run(self) -> Sent:
        """Try until the message has an outcome.

        Cancelled after the commit (:attr:`is_committed`), it can be run once more and goes on where it was; cancelled
        before it, the message is certainly not sent.

        Raises:
            Failure: Of the last attempt.
        """
        while True:
            try:
                return Sent(await self._attempt(), self.attempts)
            except Failure as failure:
                failure.attempts = self.attempts
                was_used = self._session is not None and self._session.was_used
                if not may_retry(failure, attempt=self.attempts, session_was_used=was_used):
                    raise

    async def _attempt(self) -> Reply:
        lease = self._lease
        try:
            if lease is None:
                self.attempts += 1
                self._session = None
                lease = self._lease = await self._pool.lend(self.server)
                self._session = lease.session
                lease.session.begin(self._envelope, self._octets)
            reply = await lease.session.finish(self._on_commit)
        except BaseException as error:
            goes_on = isinstance(error, asyncio.CancelledError) and self.is_committed
            if lease is not None and not goes_on:
                self._lease = None
                lease.end(error)
            raise
        self._lease = None
        lease.end()
        return reply

    @property
    def is_committed(self) -> bool:
        """Whether its last octet may have left, and its outcome is not known."""
        return self._lease is not None and self._lease.session.is_committed

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._pool.stage(self.server) if self._session is None else self._session.stage


class Sender:
    """Sends messages, and sees those to their end whose callers have gone."""

    def __init__(self, pools: Mapping[Origin, SessionPool], *, hook: DeliveryHook) -> None:
        """Make a sender.

        Args:
            pools: Lend the sessions, by whose configuration it is: what a caller brings never rides on a session of the
                operator's, nor goes where only the operator may send it.
            hook: Told what becomes of each message.
        """
        self._pools = pools
        self._hook = hook
        self._under_way: set[_Sending] = set()
        self._left_alone: set[asyncio.Task[Sent]] = set()
        self._all_ended = asyncio.Event()

    async def send(self, composed: Composed, *, within: float, on_commit: Callable[[], Awaitable[None]]) -> Sent:
        """Send one message and wait for its outcome.

        Args:
            composed: The message, and where to.
            within: Seconds until the caller must have an answer. They bound the waiting, not the sending.
            on_commit: Awaited before the last octet of the message leaves, in each attempt that comes so far.

        Raises:
            Failure: The message was not accepted, or its outcome is unknown.
        """
        sending = _Sending(composed, self._pools[composed.origin], on_commit)
        began = time.monotonic()
        failure: Failure | None = None
        self._under_way.add(sending)
        try:
            async with asyncio.timeout(within) as limit:
                return await sending.run()
        except Failure as refused:
            failure = refused
            raise
        except TimeoutError:
            if not limit.expired():
                raise
            failure = _given_up(sending, Reason.DEADLINE_EXCEEDED, "The deadline passed")
            raise failure from None
        except asyncio.CancelledError:
            failure = _given_up(sending, Reason.CANCELLED, "The caller has gone")
            raise
        finally:
            if sending.is_committed:
                self._leave_alone(sending)
            else:
                self._forget(sending)
            self._hook(MailEnded(composed.profile, failure, sending.attempts, time.monotonic() - began))

    async def drain(self) -> None:
        """Wait for every message on its way, those without a caller included."""
        while self._under_way:
            self._all_ended.clear()
            await self._all_ended.wait()

    @property
    def under_way(self) -> int:
        """How many messages are on their way, those without a caller included."""
        return len(self._under_way)

    def _forget(self, sending: _Sending) -> None:
        self._under_way.discard(sending)
        if not self._under_way:
            self._all_ended.set()

    def _leave_alone(self, sending: _Sending) -> None:
        """Let a message come to its end that may have left and that nobody waits for any more."""
        task = asyncio.create_task(sending.run(), name="smtp-sender")
        self._left_alone.add(task)
        task.add_done_callback(lambda ended: self._settle(ended, sending))

    def _settle(self, task: asyncio.Task[Sent], sending: _Sending) -> None:
        self._left_alone.discard(task)
        self._forget(sending)
        if task.cancelled():
            outcome: str = Outcome.UNKNOWN
        elif isinstance(error := task.exception(), Failure):
            outcome = error.outcome
        else:
            outcome = SENT if error is None else Outcome.UNKNOWN
        self._hook(MailSettled(sending.profile, sending.server.host, outcome))


def _given_up(sending: _Sending, reason: Reason, what: str) -> Failure:
    if sending.is_committed:
        failure = Failure(
            Reason.DELIVERY_UNCERTAIN,
            f"{what} after the message was sent and before the server replied: it may or may not arrive.",
            stage=Stage.MESSAGE,
            outcome=Outcome.UNKNOWN,
            host=sending.server.host,
        )
    else:
        failure = Failure(
            reason,
            f"{what} before the message was sent, at the stage {sending.stage}. Allow more time, or see by"
            " ValidateConfig where the server is slow.",
            stage=sending.stage,
            host=sending.server.host,
        )
    failure.attempts = sending.attempts
    return failure
