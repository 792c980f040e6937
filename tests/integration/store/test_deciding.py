from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.store.record import Attempt, Ending
from smtpconnector_server.store.state import State, UncertainPolicy
from smtpconnector_server.store.store import FenceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Claim, Draft
    from smtpconnector_server.store.store import Store

    Begin = Callable[..., Awaitable[Claim]]
    NewDraft = Callable[..., Draft]

UNCERTAIN = Ending(state=State.UNKNOWN, attempt=Attempt(reason="DELIVERY_UNCERTAIN", stage="MESSAGE"))
RESEND = Ending(state=State.QUEUED, attempt=UNCERTAIN.attempt, is_resend=True)


async def test_a_queued_message_is_cancelled_and_never_claimed(store: Store, new_draft: NewDraft) -> None:
    draft = new_draft()
    await store.accept(draft, owner=None)

    kept = await store.cancel(draft.id)

    assert kept is not None
    assert (kept.state, kept.last.reason, kept.history[-1].reason) == (
        State.CANCELLED,
        "DELIVERY_CANCELLED",
        "DELIVERY_CANCELLED",
    )
    assert kept.last.text
    assert await store.claim("a", "default", count=1) == []
    assert await store.cancel(draft.id) == kept


async def test_a_message_in_hand_is_cancelled_until_it_is_committed(store: Store, begin: Begin) -> None:
    early, late = await begin(), await begin()
    await store.commit(late)

    cancelled, kept = await store.cancel(early.kept.id), await store.cancel(late.kept.id)

    assert cancelled is not None
    assert cancelled.state is State.CANCELLED
    assert kept is not None
    assert kept.state is State.SENDING
    with pytest.raises(FenceError):
        await store.commit(early)
    assert not await store.finish(early, Ending(state=State.NOT_SENT, attempt=Attempt()))


async def test_what_the_store_does_not_have_can_not_be_decided(store: Store) -> None:
    assert await store.get("nothing") is None
    assert await store.cancel("nothing") is None
    assert await store.send_again("nothing") is None
    assert await store.drop("nothing") is None


async def test_a_held_message_is_sent_again_by_decision(store: Store, begin: Begin) -> None:
    first = await begin()
    await store.commit(first)
    await store.finish(first, UNCERTAIN)

    kept = await store.send_again(first.kept.id)

    assert kept is not None
    assert (kept.state, kept.is_held, kept.may_have_arrived) == (State.QUEUED, False, True)
    assert not await store.finish(first, Ending(state=State.SENT, attempt=Attempt()))
    (again,) = await store.claim("a", "default", count=1)
    assert again.sealed == first.sealed
    assert (again.kept.message_id, again.kept.attempt, again.kept.is_committed) == (first.kept.message_id, 2, False)


async def test_only_a_held_message_is_sent_again(store: Store, database: Database, begin: Begin) -> None:
    sent = await begin()
    await store.finish(sent, Ending(state=State.SENT, attempt=Attempt()))
    held = await begin()
    await store.finish(held, UNCERTAIN)
    await database.advance(60.0)

    for claim, state in ((sent, State.SENT), (held, State.UNKNOWN)):  # the held one has expired
        kept = await store.send_again(claim.kept.id)
        assert kept is not None
        assert kept.state is state


async def test_a_dropped_message_is_held_no_longer(store: Store, begin: Begin) -> None:
    claim = await begin()
    await store.finish(claim, UNCERTAIN)

    kept = await store.drop(claim.kept.id)

    assert kept is not None
    assert (kept.state, kept.is_held) == (State.UNKNOWN, False)
    assert await store.send_again(claim.kept.id) == kept
    assert await store.drop(claim.kept.id) == kept


async def test_a_message_that_waits_to_be_resent_can_not_be_called_cancelled(store: Store, begin: Begin) -> None:
    claim = await begin(policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await store.finish(claim, RESEND)

    kept = await store.cancel(claim.kept.id)

    assert kept is not None
    assert (kept.state, kept.is_held, kept.last.reason) == (State.UNKNOWN, False, "DELIVERY_UNCERTAIN")
    assert await store.claim("a", "default", count=1) == []


async def test_a_resend_in_hand_that_is_cancelled_can_not_be_finished_by_its_claim(store: Store, begin: Begin) -> None:
    claim = await begin(policy=UncertainPolicy.RESEND)
    await store.commit(claim)
    await store.finish(claim, RESEND)
    (claim,) = await store.claim("a", "default", count=1)
    await store.cancel(claim.kept.id)

    for state in (State.SENT, State.REJECTED, State.QUEUED, State.NOT_SENT):
        assert not await store.finish(claim, Ending(state=state, attempt=Attempt()))
