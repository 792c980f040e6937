from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.store.record import Attempt, Ending, Swept
from smtpconnector_server.store.state import State, UncertainPolicy
from smtpconnector_server.store.store import FenceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Claim, Draft, Kept
    from smtpconnector_server.store.store import Store

    Begin = Callable[..., Awaitable[Claim]]
    NewDraft = Callable[..., Draft]

UNCERTAIN = Ending(state=State.UNKNOWN, attempt=Attempt(reason="DELIVERY_UNCERTAIN", stage="MESSAGE"))
SENT = Ending(state=State.SENT, attempt=Attempt())
NOTHING = Swept()


async def test_a_live_owner_keeps_what_it_has_in_hand(store: Store, database: Database, begin: Begin) -> None:
    claim = await begin("a")
    await database.advance(20.0)
    await store.beat("a", lease=30.0)
    await database.advance(20.0)

    assert await _sweep(store) == NOTHING
    await store.commit(claim)


@pytest.mark.parametrize("ends", ["lapse", "leave"])
async def test_what_a_dead_owner_had_in_hand_is_queued_again(
    store: Store, database: Database, begin: Begin, ends: str
) -> None:
    claim = await begin("a")
    if ends == "leave":
        await store.leave("a")
    else:
        await database.advance(30.0)

    assert await _sweep(store) == Swept(requeued=1)

    assert await _sweep(store) == NOTHING
    with pytest.raises(FenceError):
        await store.commit(claim)
    (taken,) = await store.claim("b", "default", count=1)
    assert (taken.kept.attempt, taken.sealed) == (2, claim.sealed)
    with pytest.raises(FenceError):
        await store.commit(claim)
    assert not await store.finish(claim, SENT)
    assert await store.finish(taken, SENT)


async def test_an_owner_that_was_never_announced_has_nothing_in_hand(store: Store, new_draft: NewDraft) -> None:
    await store.accept(new_draft(), owner="nobody")

    assert await _sweep(store) == Swept(requeued=1)


async def test_what_a_dead_owner_may_have_sent_is_unknown_and_held(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin("a")
    await store.commit(claim)
    await database.advance(30.0)

    assert await _sweep(store) == Swept(uncertain=1)

    kept = await _get(store, claim.kept.id)
    assert (kept.state, kept.is_held) == (State.UNKNOWN, True)
    assert (kept.last.reason, kept.history[-1].reason) == ("DELIVERY_UNCERTAIN", "DELIVERY_UNCERTAIN")
    assert kept.last.text
    assert await store.finish(claim, SENT)  # it was frozen, not dead, and has read the reply now


@pytest.mark.parametrize("policy", UncertainPolicy)
async def test_the_reply_to_an_attempt_before_is_not_told_of_one_whose_server_has_died(
    store: Store, begin: Begin, policy: UncertainPolicy
) -> None:
    claim = await begin("a", policy=policy)
    refused = Attempt(host="smtp", reason="SMTP_MESSAGE_DEFERRED", reply_code=451, reply_text="later", connections=1)
    await store.finish(claim, Ending(state=State.QUEUED, attempt=refused))
    (again,) = await store.claim("a", "default", count=1)
    await store.commit(again)
    await store.leave("a")

    await _sweep(store)

    last = (await _get(store, claim.kept.id)).last
    assert last == Attempt(host="smtp", reason="DELIVERY_UNCERTAIN", stage="MESSAGE", text=last.text)


async def test_what_a_dead_owner_may_have_sent_is_resent_once_by_wish(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin("a", policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await database.advance(30.0)

    assert await _sweep(store) == Swept(resent=1)

    await store.beat("b", lease=1.0)
    (again,) = await store.claim("b", "default", count=1)
    assert (again.sealed, again.kept.message_id) == (claim.sealed, claim.kept.message_id)
    assert (again.kept.resends_left, again.kept.may_have_arrived) == (0, True)
    assert again.kept.history[-2].reason == "DELIVERY_UNCERTAIN"
    await store.commit(again)
    await database.advance(1.0)
    assert await _sweep(store) == Swept(uncertain=1)


@pytest.mark.parametrize(
    ("lapses_to", "reason"), [(State.EXPIRED, "DELIVERY_EXPIRED"), (State.NOT_SENT, "DEADLINE_EXCEEDED")]
)
async def test_a_queued_message_lapses_when_its_time_is_over(
    store: Store, database: Database, new_draft: NewDraft, lapses_to: State, reason: str
) -> None:
    draft = new_draft(lapses_to=lapses_to)
    await store.accept(draft, owner=None)
    await database.advance(60.0)
    assert await store.claim("a", "default", count=1) == []

    assert await _sweep(store) == Swept(lapsed=1)

    kept = await _get(store, draft.id)
    assert (kept.state, kept.last.reason, kept.history[-1].reason) == (lapses_to, reason, reason)
    assert kept.last.text


async def test_a_message_that_lapses_still_tells_why_it_could_not_be_sent(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin()
    why = Attempt(host="smtp.example", reason="SMTP_AUTH_FAILED", stage="AUTH", text="Wrong password.", reply_code=535)
    await store.finish(claim, Ending(state=State.QUEUED, attempt=why, delay=100.0))
    await database.advance(60.0)
    await _sweep(store)

    last = (await _get(store, claim.kept.id)).last

    assert last.reason == "DELIVERY_EXPIRED"
    assert last.text.endswith("Wrong password.")
    assert (last.host, last.stage, last.reply_code) == ("smtp.example", "AUTH", 535)


async def test_a_message_that_waits_to_be_resent_does_not_expire_as_if_it_had_not_been_sent(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin(policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await database.advance(60.0)  # of both the lease and the message

    assert await _sweep(store) == Swept(resent=1, lapsed=1)

    kept = await _get(store, claim.kept.id)
    assert (kept.state, kept.is_held, kept.last.reason) == (State.UNKNOWN, False, "DELIVERY_UNCERTAIN")


async def test_a_message_in_hand_does_not_lapse(store: Store, database: Database, begin: Begin) -> None:
    claim = await begin()
    await database.advance(60.0)
    await store.beat("a", lease=30.0)

    assert await _sweep(store) == NOTHING
    assert await store.finish(claim, Ending(state=State.EXPIRED, attempt=Attempt(reason="DELIVERY_EXPIRED")))


async def test_a_held_message_is_let_go_when_its_time_is_over(store: Store, database: Database, begin: Begin) -> None:
    claim = await begin()
    await store.commit(claim)
    await store.finish(claim, UNCERTAIN)
    await database.advance(59.0)
    await _sweep(store)
    assert (await _get(store, claim.kept.id)).is_held
    await database.advance(1.0)

    await _sweep(store)

    kept = await _get(store, claim.kept.id)
    assert (kept.state, kept.is_held) == (State.UNKNOWN, False)
    assert await store.finish(claim, SENT)  # the reply came very late


async def test_what_has_ended_is_forgotten_after_its_retention(
    store: Store, database: Database, new_draft: NewDraft, begin: Begin
) -> None:
    queued = new_draft(expires_at=await database.now() + 10_000.0)
    await store.accept(queued, owner=None)
    held = await begin(expires_at=await database.now() + 10_000.0)
    await store.finish(held, UNCERTAIN)
    ended = await begin(request_hash=b"r")
    await store.finish(ended, SENT)
    await database.advance(999.0)
    assert await _sweep(store) == NOTHING
    await database.advance(1.0)

    assert await _sweep(store) == Swept(purged=1)

    assert await store.get(ended.kept.id) is None
    assert await store.find(b"r") is None
    assert (await _get(store, queued.id)).state is State.QUEUED
    assert (await _get(store, held.kept.id)).is_held


async def test_a_sweep_does_so_much_and_no_more(store: Store, database: Database, new_draft: NewDraft) -> None:
    for _ in range(5):
        await store.accept(new_draft(), owner=None)
    await database.advance(60.0)

    assert [(await store.sweep(retention=1e9, limit=2)).lapsed for _ in range(4)] == [2, 2, 1, 0]


async def test_two_sweeps_at_once_do_everything_once(store: Store, database: Database, new_draft: NewDraft) -> None:
    other = await database.open()
    for _ in range(20):
        await store.accept(new_draft(), owner="gone")

    first, second = await store.sweep(retention=1e9, limit=20), await other.sweep(retention=1e9, limit=20)

    assert first.requeued + second.requeued == 20
    assert len(await store.claim("b", "default", count=50)) == 20


async def test_a_clock_that_was_set_back_delays_nothing(
    store: Store, database: Database, new_draft: NewDraft, begin: Begin
) -> None:
    in_hand = await begin("a")
    queued = new_draft()
    await store.accept(queued, owner=None)
    await database.advance(-3600.0)
    assert await store.claim("b", "default", count=10) == []
    await _sweep(store)

    (claim,) = await store.claim("b", "default", count=10)
    assert claim.kept.id == queued.id
    await store.beat("b", lease=100.0)
    await database.advance(30.0)  # the lease of a, counted from the sweep
    assert await _sweep(store) == Swept(requeued=1)
    (taken,) = await store.claim("b", "default", count=10)
    assert taken.kept.id == in_hand.kept.id


async def test_listeners_are_told_what_a_sweep_changed(store: Store, database: Database, begin: Begin) -> None:
    claim = await begin()
    told: list[str] = []
    store.on_change(told.append)
    await database.advance(30.0)

    await _sweep(store)

    assert set(told) == {claim.kept.id, ""}


async def _sweep(store: Store) -> Swept:
    return await store.sweep(retention=1000.0, limit=100)


async def _get(store: Store, delivery_id: str) -> Kept:
    kept = await store.get(delivery_id)
    assert kept is not None
    return kept
