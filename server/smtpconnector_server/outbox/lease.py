"""This server's share in the store: a name of its own, and a lease that it renews while it lives.

What the store did without being able to say so (its connection broke) may have left claims under the name that nobody
here knows of. The name is then retired: it is kept alive only while known attempts run under it, and when it ends, the
store gives away whatever is left.
"""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.store.store import Store

LEASE_SECONDS: Final = 6.0
"""After which a silent server is thought to be dead, and its messages are taken over."""
BEAT_SECONDS: Final = 1.5

_log = structlog.get_logger()


class Lease:
    """A name in the store, and until when it counts as alive.

    Args:
        clock: Seconds, of a clock that goes on while the process is stopped.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.owner = secrets.token_hex(8)
        """Under which messages are claimed."""
        self.attempts = 0
        """How many run under it."""
        self._fresh_until = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether it was in use and is not any more."""
        return self._fresh_until > 0.0 and not self.is_fresh

    @property
    def is_fresh(self) -> bool:
        """Whether nobody can think that it is dead."""
        return self._clock() < self._fresh_until

    async def renew(self, store: Store) -> None:
        """Renew it once.

        Raises:
            StoreError: The store cannot be reached.
        """
        began = self._clock()
        await store.beat(self.owner, lease=LEASE_SECONDS)
        self._fresh_until = began + LEASE_SECONDS


class Leases:
    """The lease under which new claims are made, and retired ones.

    Args:
        store: Where they stand.
        clock: As for :class:`Lease`.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._current = Lease(clock)
        self._retired: list[Lease] = []
        self._gap_ended = -math.inf
        self._answered_at = -math.inf

    @property
    def is_store_there(self) -> bool:
        """Whether the store has answered within the length of a lease."""
        return self._clock() - self._answered_at < LEASE_SECONDS

    @property
    def may_judge(self) -> bool:
        """Whether another server that is silent can be thought to be dead: not when the store was away just now.

        Whoever finds the store again first would take what the others are still sending.
        """
        return self._current.is_fresh and self._clock() - self._gap_ended > LEASE_SECONDS

    async def current(self) -> Lease:
        """Return the lease to claim under, renewed if need be.

        Raises:
            StoreError: It is not fresh, and the store cannot be reached.
        """
        if not self._current.is_fresh:
            await self._renew_current()
        return self._current

    def retire(self) -> None:
        """Claim under a new name from now on: there may be claims under the old one that nobody knows of."""
        self._retired.append(self._current)
        self._current = Lease(self._clock)

    async def renew(self) -> None:
        """Renew what is in use.

        Raises:
            StoreError: The store cannot be reached.
        """
        await self._renew_current()
        for lease in list(self._retired):
            if lease.attempts:
                await lease.renew(self._store)
            else:
                await self._store.leave(lease.owner)
                self._retired.remove(lease)

    async def end(self) -> None:
        """End all of them, so that what is left is taken over at once."""
        for lease in (self._current, *self._retired):
            try:
                await self._store.leave(lease.owner)
            except StoreError as error:
                _log.warning("store_failed", doing="leave", error=str(error))

    async def _renew_current(self) -> None:
        lease = self._current
        had_ended = lease.has_ended
        await lease.renew(self._store)
        self._answered_at = self._clock()
        if had_ended:
            self._gap_ended = self._answered_at
