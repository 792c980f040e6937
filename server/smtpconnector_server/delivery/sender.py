"""Delivery: one message to one outcome.

A task of its own owns the SMTP session; the caller's task only waits for it. So a caller who gives up can never leave
a session in the middle of a command, and a message whose last octet is on its way is never cut off: its sender goes on
reading for the reply (up to ten minutes, RFC 5321, section 4.5.3.2.6) while the caller is told that the outcome is
unknown.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smtpconnector_server.delivery.retry import may_retry
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.config.origin import Origin
    from smtpconnector_server.delivery.composition import Composed
    from smtpconnector_server.message.mail import Mail
    from smtpconnector_server.smtp.pool import SessionPool
    from smtpconnector_server.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Sent:
    """The SMTP server accepted the message."""

    reply: Reply
    attempts: int
    """Connections tried, 1 or more."""


class _Shipment:
    """One message on its way: its attempts, and whether its last octet may have left."""

    def __init__(self, mail: Mail, server: Server, pool: SessionPool, on_commit: Callable[[], Awaitable[None]]) -> None:
        self._envelope = Envelope(sender=mail.sender, recipient=mail.recipient, smtputf8=mail.needs_smtputf8)
        self._octets = mail.octets
        self._server = server
        self._pool = pool
        self._on_commit = on_commit
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
            was_used = False
            try:
                async with self._pool.session(self._server) as session:
                    was_used = session.was_used
                    reply = await session.send(self._envelope, self._octets, on_commit=self._commit)
                return Sent(reply, self.attempts)
            except Failure as failure:
                failure.attempts = self.attempts
                if not may_retry(failure, attempt=self.attempts, session_was_used=was_used):
                    raise

    async def _commit(self) -> None:
        if not self._is_announced:
            await self._on_commit()
            self._is_announced = True
        self.committed = True


class Sender:
    """Sends messages and owns the tasks that do it."""

    def __init__(self, pools: Mapping[Origin, SessionPool], *, on_late_end: Callable[[str, str], None]) -> None:
        """Make a sender.

        Args:
            pools: Lend the sessions, by whose configuration it is: what a caller brings never rides on a session of the
                operator's, nor goes where only the operator may send it.
            on_late_end: Told the host and the outcome (SENT, NOT_SENT, REJECTED or UNKNOWN) of a message whose caller
                had already been told that it is unknown.
        """
        self._pools = pools
        self._on_late_end = on_late_end
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
        server = composed.server
        shipment = _Shipment(composed.mail, server, self._pools[composed.origin], on_commit)
        task = asyncio.create_task(shipment.run(), name="smtp-sender")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=within)
        except asyncio.CancelledError:
            self._abandon(task, shipment, server)
            raise
        if done:
            return task.result()
        self._abandon(task, shipment, server)
        raise _out_of_time(shipment, server)

    async def drain(self) -> None:
        """Wait for every message on its way, those without a caller included."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _abandon(self, task: asyncio.Task[Sent], shipment: _Shipment, server: Server) -> None:
        """Stop a message that has not left; let one that may have left come to its end."""
        if shipment.committed:
            task.add_done_callback(lambda ended: self._report_late_end(ended, server))
        else:
            task.add_done_callback(_retrieve)
            task.cancel()

    def _report_late_end(self, task: asyncio.Task[Sent], server: Server) -> None:
        if task.cancelled():
            outcome = str(Outcome.UNKNOWN)
        elif isinstance(error := task.exception(), Failure):
            outcome = error.outcome
        else:
            outcome = "SENT" if error is None else "UNKNOWN"
        self._on_late_end(server.host, outcome)


def _retrieve(task: asyncio.Task[Sent]) -> None:
    """Take the end of a stopped task, which nobody waits for, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()


def _out_of_time(shipment: _Shipment, server: Server) -> Failure:
    if shipment.committed:
        failure = Failure(
            Reason.DELIVERY_UNCERTAIN,
            "The deadline passed after the message was sent and before the server replied: it may or may not arrive.",
            stage=Stage.MESSAGE,
            outcome=Outcome.UNKNOWN,
            host=server.host,
        )
    else:
        failure = Failure(
            Reason.DEADLINE_EXCEEDED,
            "The deadline passed before the message was sent. Allow more time, or see how quickly the server answers.",
            stage=Stage.POOL,
            host=server.host,
        )
    failure.attempts = shipment.attempts
    return failure
