"""Delivery: one message to one outcome.

A task of its own owns the SMTP session; the caller's task only waits for it. So a caller who gives up can never leave
a session in the middle of a command, and a message whose last octet is on its way is never cut off: its sender goes on
reading for the reply (up to ten minutes, RFC 5321, section 4.5.3.2.6) while the caller is told that the outcome is
unknown.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpconnector_server.delivery.events import SENT, MailEnded, MailSettled
from smtpconnector_server.delivery.retry import may_retry
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smtpconnector_server.config.origin import Origin
    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.delivery.events import DeliveryHook
    from smtpconnector_server.smtp.pool import SessionPool
    from smtpconnector_server.smtp.reply import Reply
    from smtpconnector_server.smtp.session import Session


@dataclass(frozen=True, slots=True)
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
        self._session: Session | None = None
        self._is_announced = False
        self.committed = False
        self.attempts = 0

    async def run(self) -> Sent:
        """Try until the message has an outcome.

        Raises:
            Failure: Of the last attempt.
        """
        while True:
            self.attempts += 1
            self.committed = False
            self._session = None
            was_used = False
            try:
                async with self._pool.session(self.server) as session:
                    self._session = session
                    was_used = session.was_used
                    reply = await session.send(self._envelope, self._octets, on_commit=self._commit)
                return Sent(reply, self.attempts)
            except Failure as failure:
                failure.attempts = self.attempts
                if not may_retry(failure, attempt=self.attempts, session_was_used=was_used):
                    raise

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._pool.stage(self.server) if self._session is None else self._session.stage

    async def _commit(self) -> None:
        if not self._is_announced:
            await self._on_commit()
            self._is_announced = True
        self.committed = True


class Sender:
    """Sends messages and owns the tasks that do it."""

    def __init__(self, pools: Mapping[Origin, SessionPool], *, hook: DeliveryHook) -> None:
        """Make a sender.

        Args:
            pools: Lend the sessions, by whose configuration it is: what a caller brings never rides on a session of the
                operator's, nor goes where only the operator may send it.
            hook: Told what becomes of each message.
        """
        self._pools = pools
        self._hook = hook
        self._tasks: set[asyncio.Task[Sent]] = set()

    async def send(self, composed: Composed, *, within: float, on_commit: Callable[[], Awaitable[None]]) -> Sent:
        """Send one message and wait for its outcome.

        Args:
            composed: The message, and where to.
            within: Seconds until the caller must have an answer. They bound the waiting, not the sending.
            on_commit: Awaited once, before the last octet of the message leaves for the first time.

        Raises:
            Failure: The message was not accepted, or its outcome is unknown.
        """
        sending = _Sending(composed, self._pools[composed.origin], on_commit)
        began = time.monotonic()
        try:
            sent = await self._outcome(sending, within)
        except Failure as failure:
            self._hook(MailEnded(composed.profile, failure, sending.attempts, time.monotonic() - began))
            raise
        except asyncio.CancelledError:
            gone = _given_up(sending, Reason.CANCELLED, "The caller has gone")
            self._hook(MailEnded(composed.profile, gone, sending.attempts, time.monotonic() - began))
            raise
        self._hook(MailEnded(composed.profile, None, sent.attempts, time.monotonic() - began))
        return sent

    async def _outcome(self, sending: _Sending, within: float) -> Sent:
        task = asyncio.create_task(sending.run(), name="smtp-sender")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=within)
        except asyncio.CancelledError:
            self._abandon(task, sending)
            raise
        if done:
            return task.result()
        failure = _given_up(sending, Reason.DEADLINE_EXCEEDED, "The deadline passed")
        self._abandon(task, sending)
        raise failure

    async def drain(self) -> None:
        """Wait for every message on its way, those without a caller included."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def under_way(self) -> int:
        """How many messages are on their way, those without a caller included."""
        return len(self._tasks)

    def _abandon(self, task: asyncio.Task[Sent], sending: _Sending) -> None:
        """Stop a message that has not left; let one that may have left come to its end."""
        if sending.committed:
            task.add_done_callback(lambda ended: self._settle(ended, sending))
        else:
            task.add_done_callback(_retrieve)
            task.cancel()

    def _settle(self, task: asyncio.Task[Sent], sending: _Sending) -> None:
        if task.cancelled():
            outcome: str = Outcome.UNKNOWN
        elif isinstance(error := task.exception(), Failure):
            outcome = error.outcome
        else:
            outcome = SENT if error is None else Outcome.UNKNOWN
        self._hook(MailSettled(sending.profile, sending.server.host, outcome))


def _retrieve(task: asyncio.Task[Sent]) -> None:
    """Take the end of a stopped task, which nobody waits for, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()


def _given_up(sending: _Sending, reason: Reason, what: str) -> Failure:
    if sending.committed:
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
