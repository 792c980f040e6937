"""A connection after its log-in: carries transactions, one at a time, and holds the rules of the transport.

Whatever ends a transaction otherwise than by complete replies aborts the transport: no QUIT, no flushing close (which
would send the rest of a mail that was reported as failed), no reuse. So do octets that come while nothing is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from smtpconnector_server.smtp.transaction import Broken, Fault, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from smtpconnector_server.smtp.transaction import End, Transaction

FINAL_REPLY_SECONDS: Final = 600.0
"""For the reply to the message (RFC 5321, section 4.5.3.2.6): a mail given up earlier is likely to be sent twice."""
_LINGER_SECONDS: Final = 5.0
"""For the server to close after QUIT."""


class Wire(asyncio.Protocol):
    """The protocol of a transport that speaks SMTP.

    Args:
        transport: Connected, and between two replies.
        reply_seconds: The longest wait for any reply but that to the message, and for the server to read on.
    """

    def __init__(self, transport: asyncio.Transport, *, reply_seconds: float) -> None:
        self.on_closed: Callable[[str], None] = lambda _why: None
        """Called once when the connection is of no more use, with why."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is closed."""
        self._reply_seconds = reply_seconds
        self._transaction: Transaction | None = None
        self._change: asyncio.Future[None] | None = None
        """Done when a transaction can go on."""
        self._too_late_at = 0.0
        self._complaint = ""
        """What to say of the server then."""
        self._timer: asyncio.TimerHandle | None = None
        self._may_write = True
        self._is_open = True
        self._linger: asyncio.TimerHandle | None = None
        """Runs after QUIT."""
        transport.set_protocol(self)
        # No buffer of ours: the last octets of a message are written only when all before them are with the kernel.
        # The loops' TLS transports pause at the mark and plain ones beyond it: at 0 TLS would never write.
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0)

    @property
    def is_open(self) -> bool:
        """Whether a transaction can begin."""
        return self._is_open and not self._transport.is_closing()

    async def run(self, transaction: Transaction, on_commit: Callable[[], Awaitable[None]] | None = None) -> End:
        """Carry a transaction to its end.

        Cancelled before the last octet of the message was handed out, the connection is aborted. Cancelled after it,
        the transaction stays as it is, and running it again goes on with it.

        Args:
            transaction: A new one, or the one that was run last.
            on_commit: Awaited before the write that holds the last octet of the message. None: nobody wants to know.
        """
        self._transaction = transaction
        try:
            while transaction.end is None:
                if not self.is_open:
                    transaction.lose(Fault.LOST, "closed the connection")
                elif not transaction.has_octets:
                    await self._wait(transaction, "did not answer in time")
                elif not self._may_write:
                    await self._wait(transaction, "stopped reading")
                elif transaction.next_commits and on_commit is not None:
                    await on_commit()
                    on_commit = None  # and look again at what the server did meanwhile
                else:
                    self._transport.write(transaction.next_octets())
        except asyncio.CancelledError:
            if not transaction.is_committed:
                self._transaction = None
                self.abort("interrupted")
            raise
        except BaseException:
            self._transaction = None
            self.abort("interrupted")
            raise
        self._transaction = None
        end = transaction.end
        if isinstance(end, Broken) or (isinstance(end, Refused) and not end.in_sync):
            self.abort(end.detail if isinstance(end, Broken) else "refused")
        return end

    async def _wait(self, transaction: Transaction, complaint: str) -> None:
        """Wait until the transaction can go on, or it is too late."""
        seconds = FINAL_REPLY_SECONDS if transaction.is_committed else self._reply_seconds
        self._too_late_at = self._loop.time() + seconds
        self._complaint = complaint
        self._change = change = self._loop.create_future()
        self._set_timer()
        try:
            await change
        finally:
            self._change = None

    def _set_timer(self) -> None:
        """Look when it is too late. One timer does for many waits: one that is early looks, and is set anew."""
        if self._timer is not None:
            if self._timer.when() <= self._too_late_at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._too_late_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._change is None or self._transaction is None:
            return
        if self._loop.time() < self._too_late_at:
            self._set_timer()
        else:
            self._transaction.lose(Fault.SILENT, self._complaint)
            self._go_on()

    def _go_on(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def abort(self, why: str) -> None:
        """Close at once; nothing more is sent."""
        self._transport.abort()
        self._close(why)

    def quit(self, why: str) -> None:
        """Say QUIT and close, without waiting for the reply: for a connection between two transactions."""
        if not self.is_open:
            return
        self._close(why)
        self._transport.write(b"QUIT\r\n")
        self._transport.close()
        self._linger = self._loop.call_later(_LINGER_SECONDS, self._transport.abort)

    def _close(self, why: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_open:
            self._is_open = False
            self.on_closed(why)

    def data_received(self, data: bytes) -> None:
        """Take octets of the server."""
        transaction = self._transaction
        if transaction is not None and transaction.end is None:
            transaction.receive(data)
            if transaction.has_octets or transaction.has_ended():
                self._go_on()
        elif self._linger is None:
            self.abort("the server spoke unasked")

    def eof_received(self) -> None:
        """Take the end of the server's octets. Its half-closed connection must not go on being written to."""
        self._lost("closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        if self._linger is not None:
            self._linger.cancel()
        self._lost("closed the connection" if exc is None else "broke the connection")
        if not self.gone.done():
            self.gone.set_result(None)

    def _lost(self, how: str) -> None:
        if self._transaction is not None:
            self._transaction.lose(Fault.LOST, how)
        self.abort(f"the server {how}")
        self._go_on()

    def pause_writing(self) -> None:
        """Hold back what is to be written."""
        self._may_write = False

    def resume_writing(self) -> None:
        """Write on."""
        self._may_write = True
        self._go_on()
