from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.store.record import Attempt, Claim, Ending
from smtpconnector_server.store.state import State, UncertainPolicy
from smtpconnector_server.store.store import FenceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Draft, Kept
    from smtpconnector_server.store.store import Store

    Begin = Callable[..., Awaitable[Claim]]
    NewDraft = Callable[..., Draft]

DEFERRED = Attempt(
    host="smtp.example",
    reason="SMTP_RECIPIENT_DEFERRED",
    stage="RCPT",
    text="The server asks to come again: later; 'quoted', and more.",
    reply_code=451,
    reply_enhanced_code="4.7.1",
    reply_text="Later; please, come\nagain \N{SNOWMAN}",
    connections=2,
)
SENT = Ending(state=State.SENT, attempt=Attempt(host="smtp.example", reply_code=250, reply_text="OK", connections=1))
UNCERTAIN = Ending(state=State.UNKNOWN, attempt=Attempt(reason="DELIVERY_UNCERTAIN", stage="MESSAGE"))


async def test_lanes_are_told_whose_first_message_is_due_longest_first(
    store: Store, database: Database, new_draft: NewDraft
) -> None:
    for lane in ("c", "a", "b", "a", "c"):
        await store.accept(new_draft(lane=lane), owner=None)
        await database.advance(1.0)
    await store.accept(new_draft(lane="expired", expires_at=await database.now()), owner=None)
    await store.accept(new_draft(lane="in hand"), owner="a")

    assert await store.due_lanes(limit=10) == ["c", "a", "b"]
    assert await store.due_lanes(limit=2) == ["c", "a"]


async def test_lanes_and_claims_pass_over_what_is_not_due_yet(store: Store, database: Database, begin: Begin) -> None:
    claim = await begin()
    await store.finish(claim, Ending(state=State.QUEUED, attempt=DEFERRED, delay=5.0))

    assert await store.due_lanes(limit=10) == []
    assert await store.claim("a", "default", count=10) == []
    await database.advance(5.0)
    assert await store.due_lanes(limit=10) == ["default"]
    assert len(await store.claim("a", "default", count=10)) == 1


async def test_a_claim_takes_the_messages_of_its_lane_that_are_due_longest(
    store: Store, database: Database, new_draft: NewDraft
) -> None:
    drafts = []
    for _ in range(4):
        drafts.append(new_draft())
        await store.accept(drafts[-1], owner=None)
        await database.advance(1.0)
    await store.accept(new_draft(lane="other"), owner=None)

    claims = await store.claim("a", "default", count=3)

    assert [claim.kept.id for claim in claims] == [draft.id for draft in drafts[:3]]
    assert [claim.sealed for claim in claims] == [draft.sealed for draft in drafts[:3]]
    assert {claim.kept.state for claim in claims} == {State.SENDING}
    assert {claim.kept.attempt for claim in claims} == {1}


async def test_two_servers_never_claim_the_same_message(store: Store, database: Database, new_draft: NewDraft) -> None:
    other = await database.open()
    for _ in range(100):
        await store.accept(new_draft(), owner=None)

    claims = await asyncio.gather(
        *(server.claim(owner, "default", count=7) for server, owner in ((store, "a"), (other, "b")) for _ in range(10))
    )

    ids = [claim.kept.id for some in claims for claim in some]
    assert len(ids) == len(set(ids)) == 100


async def test_a_commit_leaves_the_state_and_can_be_made_again_while_the_claim_holds(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin()

    for _ in range(2):
        await store.commit(claim)
        kept = await store.get(claim.kept.id)
        assert kept is not None
        assert (kept.state, kept.is_committed, kept.history) == (State.SENDING, True, claim.kept.history)

    await database.advance(60.0)
    with pytest.raises(FenceError):
        await store.commit(claim)


async def test_a_commit_tells_how_long_the_message_is_still_of_use(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin()
    await database.advance(50.0)

    assert 0 < await store.commit(claim) <= 10.0


async def test_a_message_that_has_expired_in_hand_can_not_be_committed(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin()
    await database.advance(60.0)

    with pytest.raises(FenceError) as fence:
        await store.commit(claim)

    assert fence.value.kept is not None
    assert fence.value.kept.state is State.SENDING


async def test_the_fence_of_a_message_that_is_forgotten_knows_nothing_of_it(
    store: Store, database: Database, begin: Begin
) -> None:
    claim = await begin()
    await store.finish(claim, SENT)
    await database.advance(10.0)
    await store.sweep(retention=5.0, limit=10)

    with pytest.raises(FenceError) as fence:
        await store.commit(claim)

    assert fence.value.kept is None
    assert not await store.finish(claim, SENT)


@pytest.mark.parametrize("state", [State.SENT, State.REJECTED, State.NOT_SENT, State.EXPIRED, State.UNKNOWN])
async def test_an_end_is_kept_with_all_that_is_told_of_it(store: Store, begin: Begin, state: State) -> None:
    claim = await begin()
    await store.commit(claim)

    assert await store.finish(claim, Ending(state=state, attempt=DEFERRED))

    kept = await store.get(claim.kept.id)
    assert kept is not None
    assert kept.state is state
    assert kept.last == DEFERRED
    assert kept.is_held is (state is State.UNKNOWN)
    assert kept.history[-1].state is state
    assert kept.history[-1].reason == DEFERRED.reason
    assert [change.cursor for change in kept.history] == [1, 2]


async def test_a_deferral_counts_and_a_release_does_not(store: Store, database: Database, begin: Begin) -> None:
    claim = await begin()
    await store.finish(claim, Ending(state=State.QUEUED, attempt=DEFERRED))
    (claim,) = await store.claim("a", "default", count=1)
    await store.finish(claim, Ending(state=State.QUEUED, attempt=DEFERRED, delay=2.0))
    await database.advance(2.0)
    (claim,) = await store.claim("a", "default", count=1)
    assert (claim.kept.attempt, claim.kept.deferrals, claim.kept.last) == (3, 2, DEFERRED)

    await store.finish(claim, Ending(state=State.QUEUED, attempt=Attempt(), counts=False))

    (claim,) = await store.claim("b", "default", count=1)
    assert (claim.kept.attempt, claim.kept.deferrals, claim.kept.is_committed) == (4, 2, False)
    assert claim.sealed.content.startswith(b"content")


async def test_a_claim_that_was_followed_by_another_changes_nothing(store: Store, begin: Begin) -> None:
    old = await begin()
    await store.finish(old, Ending(state=State.QUEUED, attempt=DEFERRED))
    assert not await store.finish(old, SENT)  # it is queued
    (new,) = await store.claim("a", "default", count=1)

    with pytest.raises(FenceError) as fence:
        await store.commit(old)

    assert fence.value.kept == new.kept
    assert not await store.finish(old, SENT)
    await store.commit(new)
    assert await store.finish(new, SENT)


@pytest.mark.parametrize("state", [State.SENT, State.REJECTED, State.QUEUED])
async def test_what_is_learnt_late_makes_an_unknown_end_true(store: Store, begin: Begin, state: State) -> None:
    claim = await begin()
    await store.commit(claim)
    await store.finish(claim, UNCERTAIN)

    assert await store.finish(claim, Ending(state=state, attempt=DEFERRED))

    assert (await _get(store, claim)).state is state


async def test_a_dropped_message_can_still_turn_out_to_be_sent_but_not_be_queued(store: Store, begin: Begin) -> None:
    claim = await begin()
    await store.commit(claim)
    await store.finish(claim, UNCERTAIN)
    await store.drop(claim.kept.id)

    assert not await store.finish(claim, Ending(state=State.QUEUED, attempt=DEFERRED))
    assert await store.finish(claim, SENT)


@pytest.mark.parametrize("state", [State.NOT_SENT, State.EXPIRED, State.UNKNOWN])
async def test_an_unknown_end_is_not_made_less_true(store: Store, begin: Begin, state: State) -> None:
    claim = await begin()
    await store.commit(claim)
    await store.finish(claim, UNCERTAIN)

    assert not await store.finish(claim, Ending(state=state, attempt=DEFERRED))

    assert (await _get(store, claim)).last == UNCERTAIN.attempt


async def test_a_message_is_resent_once_and_then_held(store: Store, begin: Begin) -> None:
    resend = Ending(state=State.QUEUED, attempt=UNCERTAIN.attempt, is_resend=True)
    claim = await begin(policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await store.finish(claim, resend)
    (claim,) = await store.claim("a", "default", count=1)
    assert (claim.kept.resends_left, claim.kept.may_have_arrived, claim.kept.is_committed) == (0, True, False)
    await store.commit(claim)

    await store.finish(claim, resend)

    kept = await _get(store, claim)
    assert (kept.state, kept.is_held, kept.resends_left) == (State.UNKNOWN, True, 0)
    assert await store.finish(claim, SENT)


@pytest.mark.parametrize("state", [State.REJECTED, State.NOT_SENT, State.EXPIRED])
async def test_nothing_says_of_a_resent_message_that_it_was_not_sent(store: Store, begin: Begin, state: State) -> None:
    claim = await begin(policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await store.finish(claim, Ending(state=State.QUEUED, attempt=UNCERTAIN.attempt, is_resend=True))
    (claim,) = await store.claim("a", "default", count=1)

    assert await store.finish(claim, Ending(state=state, attempt=DEFERRED))

    kept = await _get(store, claim)
    assert kept.state is State.UNKNOWN
    assert kept.last.reason == "DELIVERY_UNCERTAIN"
    assert kept.last.text.endswith(DEFERRED.text)
    assert kept.history[-1].reason == "DELIVERY_UNCERTAIN"


async def test_a_late_refusal_tells_nothing_of_the_attempt_before(store: Store, begin: Begin) -> None:
    claim = await begin(policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await store.finish(claim, Ending(state=State.QUEUED, attempt=UNCERTAIN.attempt, is_resend=True))
    (claim,) = await store.claim("a", "default", count=1)
    await store.commit(claim)
    await store.finish(claim, UNCERTAIN)

    assert not await store.finish(claim, Ending(state=State.REJECTED, attempt=DEFERRED))
    assert (await _get(store, claim)).last == UNCERTAIN.attempt
    assert await store.finish(claim, SENT)


async def _get(store: Store, claim: Claim) -> Kept:
    kept = await store.get(claim.kept.id)
    assert kept is not None
    return kept
