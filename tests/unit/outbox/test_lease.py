"""A server's name in the store: how long it counts as alive, and when others may be taken for dead."""

from __future__ import annotations

from typing import Any, cast

import pytest

from smtpconnector_server.outbox.lease import LEASE_SECONDS, Lease, Leases
from smtpconnector_server.store.store import StoreError


class BeatStore:
    """A store that knows who lives, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.is_away = False
        self.alive: dict[str, float] = {}

    async def beat(self, owner: str, *, lease: float) -> None:
        if self.is_away:
            raise StoreError("away", is_certain=True)
        self.alive[owner] = self.now + lease

    async def leave(self, owner: str) -> None:
        del self.alive[owner]

    def clock(self) -> float:
        return self.now


@pytest.fixture
def store() -> BeatStore:
    return BeatStore()


@pytest.fixture
def leases(store: BeatStore) -> Leases:
    return Leases(cast("Any", store), store.clock)


async def test_a_lease_is_fresh_from_the_moment_in_which_it_was_asked_for(store: BeatStore) -> None:
    class Slow(BeatStore):
        async def beat(self, owner: str, *, lease: float) -> None:
            self.now += 2.0

    slow = Slow()
    lease = Lease(slow.clock)
    assert not lease.is_fresh
    await lease.renew(cast("Any", slow))
    slow.now += LEASE_SECONDS - 2.1
    assert lease.is_fresh
    slow.now += 0.2
    assert not lease.is_fresh


async def test_a_lease_is_renewed_before_it_is_claimed_under(store: BeatStore, leases: Leases) -> None:
    lease = await leases.current()
    store.now += LEASE_SECONDS + 1
    assert not lease.is_fresh

    assert (await leases.current()) is lease
    assert lease.is_fresh

    store.now += LEASE_SECONDS + 1
    store.is_away = True
    with pytest.raises(StoreError):
        await leases.current()


async def test_a_retired_name_lives_as_long_as_attempts_run_under_it(store: BeatStore, leases: Leases) -> None:
    old = await leases.current()
    old.attempts = 1
    leases.retire()
    new = await leases.current()
    await leases.renew()
    assert set(store.alive) == {old.owner, new.owner}

    old.attempts = 0
    await leases.renew()
    assert set(store.alive) == {new.owner}
    await leases.renew()

    await leases.end()
    assert not store.alive


async def test_nobody_is_judged_just_after_the_store_was_away(store: BeatStore, leases: Leases) -> None:
    assert not leases.may_judge
    await leases.current()
    assert leases.may_judge  # nobody waits for a server that has just started

    store.now += LEASE_SECONDS + 1
    assert not leases.may_judge
    await leases.renew()
    assert not leases.may_judge
    for _ in range(3):
        store.now += LEASE_SECONDS / 2
        await leases.renew()
    assert leases.may_judge
