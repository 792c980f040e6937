from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.store.record import Attempt, Claim, Ending, Kept, Sealed
from smtpconnector_server.store.state import Mode, State, UncertainPolicy
from smtpconnector_server.store.store import FenceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Draft
    from smtpconnector_server.store.store import Store

    Begin = Callable[..., Awaitable[Claim]]
    NewDraft = Callable[..., Draft]

FAILED = Attempt(host="smtp.example", reason="SMTP_CONNECT_FAILED", stage="CONNECT", text="It does not answer.")


async def test_a_message_without_an_owner_is_queued_as_it_was_drafted(store: Store, new_draft: NewDraft) -> None:
    draft = new_draft(mode=Mode.ENQUEUE, policy=UncertainPolicy.RESEND, fingerprint=b"f", request_hash=b"r")

    assert await store.accept(draft, owner=None) is None

    kept = await store.get(draft.id)
    assert kept is not None
    for name in ("id", "caller", "lane", "profile", "usage_type", "message_id", "mode", "policy", "fingerprint"):
        assert getattr(kept, name) == getattr(draft, name), name
    assert (kept.state, kept.attempt, kept.deferrals, kept.resends_left) == (State.QUEUED, 0, 0, 1)
    assert (kept.is_committed, kept.is_held, kept.may_have_arrived) == (False, False, False)
    assert kept.expires_at == pytest.approx(draft.expires_at, abs=1e-5)
    assert kept.created_at == kept.updated_at == kept.due_at
    assert kept.last == Attempt()
    assert [(change.cursor, change.state, change.reason) for change in kept.history] == [(1, State.QUEUED, "")]


async def test_a_time_to_live_is_reckoned_by_the_stores_own_clock(
    database: Database, store: Store, new_draft: NewDraft
) -> None:
    draft = new_draft(expires_at=None, expires_in=30.0)
    before = await database.now()

    await store.accept(draft, owner=None)

    kept = await store.get(draft.id)
    assert kept is not None
    assert before + 30.0 <= kept.expires_at + 1e-5
    assert kept.expires_at <= await database.now() + 30.0 + 1e-5


async def test_a_message_with_an_owner_is_claimed_at_once(store: Store, new_draft: NewDraft) -> None:
    draft = new_draft(profile=None)

    claim = await store.accept(draft, owner="a")

    assert isinstance(claim, Claim)
    assert claim.sealed == draft.sealed
    assert (claim.kept.state, claim.kept.attempt, claim.kept.profile) == (State.SENDING, 1, None)
    assert claim.kept == await store.get(draft.id)


async def test_a_request_is_accepted_once_however_often_it_comes(store: Store, new_draft: NewDraft) -> None:
    first = new_draft(request_hash=b"r", fingerprint=b"1")
    await store.accept(first, owner=None)

    for owner in ("a", None):
        kept = await store.accept(new_draft(request_hash=b"r", fingerprint=b"2"), owner=owner)
        assert isinstance(kept, Kept)
        assert (kept.id, kept.fingerprint) == (first.id, b"1")

    assert await store.find(b"r") == await store.get(first.id)
    assert await store.find(b"s") is None


async def test_a_newer_message_supersedes_those_that_have_not_left(
    store: Store, new_draft: NewDraft, begin: Begin
) -> None:
    key = b"supersede"
    queued = new_draft(supersede_hash=key)
    await store.accept(queued, owner=None)
    sending = await begin()  # another key's
    committed = await begin(supersede_hash=key)
    assert (await _state(store, queued.id)) is State.SUPERSEDED
    await store.commit(committed)
    in_hand = await begin(supersede_hash=key)

    newest = new_draft(supersede_hash=key)
    await store.accept(newest, owner=None)

    assert await _state(store, in_hand.kept.id) is State.SUPERSEDED
    assert await _state(store, committed.kept.id) is State.SENDING
    assert await _state(store, sending.kept.id) is State.SENDING
    assert await _state(store, newest.id) is State.QUEUED
    superseded = await store.get(in_hand.kept.id)
    assert superseded is not None
    assert superseded.last.reason == "DELIVERY_SUPERSEDED"
    assert superseded.history[-1].reason == "DELIVERY_SUPERSEDED"
    with pytest.raises(FenceError) as fence:
        await store.commit(in_hand)
    assert fence.value.kept == superseded
    assert not await store.finish(in_hand, Ending(state=State.SENT, attempt=Attempt()))


async def test_a_message_that_is_not_accepted_supersedes_none(store: Store, new_draft: NewDraft) -> None:
    await store.accept(new_draft(request_hash=b"r"), owner=None)
    waiting = new_draft(supersede_hash=b"s")
    await store.accept(waiting, owner=None)

    await store.accept(new_draft(request_hash=b"r", supersede_hash=b"s"), owner=None)

    assert await _state(store, waiting.id) is State.QUEUED


async def test_what_was_not_sent_is_taken_up_again_under_its_own_name(
    store: Store, database: Database, new_draft: NewDraft, begin: Begin
) -> None:
    older = new_draft(supersede_hash=b"s")
    await store.accept(older, owner=None)
    await database.advance(10.0)
    claim = await begin(request_hash=b"r", mode=Mode.WAIT, lapses_to=State.NOT_SENT)
    await store.finish(claim, Ending(state=State.NOT_SENT, attempt=FAILED))
    kept = await store.find(b"r")
    assert kept is not None
    sealed = Sealed(key_id="k2", wrapped_key=b"new", content=b"newer")
    again = new_draft(
        request_hash=b"r",
        supersede_hash=b"s",
        policy=UncertainPolicy.RESEND,
        sealed=sealed,
        expires_at=await database.now() + 5.0,
    )

    reopened = await store.reopen(replace(again, id=kept.id, message_id=kept.message_id), kept, owner="b")

    assert reopened is not None
    assert reopened.sealed == sealed
    assert reopened.kept.state is State.SENDING
    assert (reopened.kept.id, reopened.kept.message_id) == (claim.kept.id, claim.kept.message_id)
    assert (reopened.kept.attempt, reopened.kept.resends_left) == (2, 1)
    assert reopened.kept.created_at == claim.kept.created_at
    assert reopened.kept.expires_at == pytest.approx(await database.now() + 5.0, abs=1e-5)
    assert [change.state for change in reopened.kept.history] == [State.SENDING, State.NOT_SENT, State.SENDING]
    assert await _state(store, older.id) is State.SUPERSEDED
    assert await store.reopen(again, kept, owner="c") is None  # somebody was faster
    assert not await store.finish(claim, Ending(state=State.NOT_SENT, attempt=FAILED))  # the first attempt's claim


async def test_what_was_not_sent_is_superseded_when_it_comes_again_after_a_newer_message(
    store: Store, database: Database, new_draft: NewDraft, begin: Begin
) -> None:
    claim = await begin(request_hash=b"r", supersede_hash=b"s", mode=Mode.WAIT, lapses_to=State.NOT_SENT)
    await store.finish(claim, Ending(state=State.NOT_SENT, attempt=FAILED))
    await database.advance(10.0)
    newer = await begin(supersede_hash=b"s")
    await store.commit(newer)
    await store.finish(newer, Ending(state=State.SENT, attempt=Attempt()))
    kept = await store.find(b"r")
    assert kept is not None
    again = new_draft(request_hash=b"r", supersede_hash=b"s", id=kept.id, message_id=kept.message_id)

    assert await store.reopen(again, kept, owner="b") is None

    superseded = await store.find(b"r")
    assert superseded is not None
    assert superseded.state is State.SUPERSEDED
    assert superseded.last.reason == "DELIVERY_SUPERSEDED"
    assert await _state(store, newer.kept.id) is State.SENT


async def test_listeners_are_told_what_changed_when_it_is_durable(store: Store, new_draft: NewDraft) -> None:
    told: list[str] = []
    store.on_change(told.append)
    first, second = new_draft(supersede_hash=b"s"), new_draft(supersede_hash=b"s")

    await store.accept(first, owner=None)
    assert set(told) == {first.id, ""}
    told.clear()
    await store.accept(second, owner="a")
    assert set(told) == {first.id, second.id}
    told.clear()
    await store.get(first.id)
    await store.cancel(first.id)  # it has ended already
    assert told == []


async def _state(store: Store, delivery_id: str) -> State:
    kept = await store.get(delivery_id)
    assert kept is not None
    return kept.state
