"""The store as the rest of the service sees it; SQLite and PostgreSQL both are one.

Each method is one durable transaction: when it has returned, what it did survives the death of this process and of the
machine; when it has raised :class:`StoreError`, nothing of it happened, except where ``is_certain`` is False. No
transaction is held open between two calls. A caller that is cancelled while it waits has not cancelled what it asked
for: that is done as a whole, or not at all, at some time. Who needs the answer (a claim) shields the call.

A server takes part under an owner id that it has announced by :meth:`Store.beat`; claims belong to an owner and end
with its lease. Every change made by a claim is fenced by the attempt's number, so that a server which was frozen for a
minute, or whose clock jumped, can never do harm with a claim that somebody else has taken over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smtpconnector_server.failure import Reason
    from smtpconnector_server.store.record import Claim, Depth, Draft, Ending, Filter, Kept, Swept


class StoreError(Exception):
    """The store could not do it.

    Args:
        message: What happened, for the log. No content.
        is_certain: Whether it is certain that nothing was done. False: the connection broke, or the disk failed, while
            it was being made durable.
    """

    def __init__(self, message: str, *, is_certain: bool) -> None:
        super().__init__(message)
        self.is_certain = is_certain


class FenceError(Exception):
    """The claim is no longer ours; ``kept`` says what became of the message. None: it is gone."""

    def __init__(self, kept: Kept | None) -> None:
        super().__init__("the claim has ended")
        self.kept = kept


class Store(Protocol):
    """Keeps messages."""

    async def accept(self, draft: Draft, *, owner: str | None) -> Claim | Kept | None:
        """Accept a message, once for each ``request_hash``, and supersede older ones with its ``supersede_hash``.

        Superseded are messages of the same hash that are QUEUED, or SENDING and not committed. A message that is not
        accepted supersedes none.

        Args:
            draft: The message.
            owner: Who sends it at once. None: it is queued.

        Returns:
            The claim if there is an owner, None if it was queued, or what is kept already under its ``request_hash``.

        Raises:
            StoreError: As everywhere.
        """

    async def reopen(self, draft: Draft, kept: Kept, *, owner: str) -> Claim | None:
        """Take up a NOT_SENT message again with new content, expiry and Message-ID unchanged; None: no longer so.

        The message keeps its id; ``draft.id`` and ``draft.message_id`` are those of ``kept``. Supersedes as
        :meth:`accept` does; but if a newer message has its key it becomes SUPERSEDED itself.
        """

    async def beat(self, owner: str, *, lease: float) -> None:
        """Announce an owner, or that it is still alive for ``lease`` seconds from now."""

    async def leave(self, owner: str) -> None:
        """End an owner's lease now: what it still has in hand is swept at once."""

    async def due_lanes(self, *, limit: int) -> list[str]:
        """Return lanes that have messages which are due, each once; those whose first message is due longest first."""

    async def claim(self, owner: str, lane: str, *, count: int) -> list[Claim]:
        """Take up to ``count`` messages of a lane that are due and not expired, the ones due longest first.

        No two callers get the same message (SKIP LOCKED; BEGIN IMMEDIATE). Each is SENDING, uncommitted, with one more
        attempt than before.
        """

    async def commit(self, claim: Claim) -> float:
        """Note that the last octet of the message is about to leave; once more if it did not leave after all.

        Returns:
            How many seconds after this look at its clock the message expires; more than 0.

        Raises:
            FenceError: It must not: the message was cancelled, superseded, taken over or has expired.
        """

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        """Note how an attempt ended, whether committed or not.

        Allowed from SENDING, and from UNKNOWN (what was learnt late), of the same attempt. With a final state other
        than UNKNOWN the content's key and the content are destroyed; UNKNOWN keeps them until it expires.

        Returns:
            Whether it was taken: False after somebody else has decided.
        """

    async def get(self, delivery_id: str) -> Kept | None:
        """Return a message."""

    async def find(self, request_hash: bytes) -> Kept | None:
        """Return the message of a request id."""

    async def list(self, which: Filter, *, limit: int) -> list[Kept]:
        """Return messages, the newest (largest id) first. Their ``history`` is empty."""

    async def cancel(self, delivery_id: str) -> Kept | None:
        """Cancel a message that is QUEUED, or SENDING and not committed; return it as it is then, None if unknown."""

    async def send_again(self, delivery_id: str) -> Kept | None:
        """Queue a held message again, due at once; return it as it is then."""

    async def drop(self, delivery_id: str) -> Kept | None:
        """Destroy the content of a held message; return it as it is then."""

    async def sweep(self, *, retention: float, limit: int) -> Swept:
        """Do what time has made due, for at most ``limit`` messages of each kind.

        SENDING messages of owners without a lease: uncommitted ones are QUEUED, due at once; committed ones are QUEUED
        with their one resend spent, or UNKNOWN, both with reason DELIVERY_UNCERTAIN. QUEUED messages past
        ``expires_at`` become their ``lapses_to``. Held ones past it lose their content. Final ones are deleted
        ``retention`` seconds after their end. Leases that ended a day ago are forgotten.
        """

    async def depth(self) -> Depth:
        """Return how full the queue is."""

    async def take(self, key: bytes, windows: Sequence[tuple[int, float]]) -> float:
        """Count one for a key against limits that all servers share (GCRA), if every one of them allows it.

        Args:
            key: A keyed hash.
            windows: How many in how many seconds.

        Returns:
            0 if it was counted, else the seconds until one may be.
        """

    async def report_server(self, key: bytes, *, paused_for: float, reason: Reason | None) -> None:
        """Share that an SMTP server is not to be asked for some seconds, or (0) that it works again."""

    async def paused_servers(self) -> Mapping[bytes, tuple[float, str]]:
        """Return by key the SMTP servers that are paused: for how many seconds yet, and the reason."""

    async def keep(self, name: str, value: bytes, *, instead_of: bytes | None = None) -> bytes:
        """Keep a value under a name that has none yet, or in place of another one; return the one that is kept then.

        For the store's own few constants, such as its wrapped hash key.
        """

    def on_change(self, listener: Callable[[str], None]) -> None:
        """Call a listener, in this event loop, with the id of each message whose state changed, as far as is known.

        A hint: changes made by this process are always told, those of others where the engine can (NOTIFY). An empty id
        means that something was queued.
        """

    async def close(self) -> None:
        """Finish what was begun and let go of files and connections."""
