from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.store.record import Attempt, Depth, Ending, Filter
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Claim, Draft
    from smtpconnector_server.store.store import Store

    Begin = Callable[..., Awaitable[Claim]]
    NewDraft = Callable[..., Draft]


async def test_a_list_has_the_newest_first_and_goes_on_where_it_ended(store: Store, new_draft: NewDraft) -> None:
    drafts = [new_draft() for _ in range(5)]
    for draft in drafts:
        await store.accept(draft, owner=None)

    first = await store.list(Filter(), limit=3)
    second = await store.list(Filter(before_id=first[-1].id), limit=3)

    assert [kept.id for kept in (*first, *second)] == [draft.id for draft in reversed(drafts)]
    assert {kept.history for kept in first} == {()}
    assert await store.list(Filter(before_id=second[-1].id), limit=3) == []


async def test_ids_sort_by_their_octets(store: Store, new_draft: NewDraft) -> None:
    for delivery_id in ("b", "B", "a", "_", "1"):
        await store.accept(new_draft(id=delivery_id), owner=None)

    assert [kept.id for kept in await store.list(Filter(), limit=9)] == ["b", "a", "_", "B", "1"]
    assert [kept.id for kept in await store.list(Filter(before_id="_"), limit=9)] == ["B", "1"]


async def test_a_list_can_be_of_a_caller_a_profile_some_states_or_some_time(
    store: Store, database: Database, new_draft: NewDraft
) -> None:
    began = await database.now()
    await store.accept(new_draft(id="1", caller="bank"), owner=None)
    await database.advance(10.0)
    await store.accept(new_draft(id="2", profile="b"), owner=None)
    await database.advance(10.0)
    await store.accept(new_draft(id="3"), owner="a")
    await store.cancel("1")

    async def ids(which: Filter) -> str:
        return "".join(kept.id for kept in await store.list(which, limit=9))

    assert await ids(Filter(caller="shop")) == "32"
    assert await ids(Filter(profile="b")) == "2"
    assert await ids(Filter(states=(State.SENDING,))) == "3"
    assert await ids(Filter(states=(State.CANCELLED, State.QUEUED))) == "21"
    assert await ids(Filter(states=(State.UNKNOWN,))) == ""
    assert await ids(Filter(created_from=began + 10.0)) == "32"
    assert await ids(Filter(created_before=began + 10.0)) == "1"
    assert await ids(Filter(caller="shop", states=(State.QUEUED,), profile="b", created_from=began)) == "2"
    assert await ids(Filter(caller="shop", before_id="3", created_before=began + 11.0)) == "2"


async def test_the_depth_counts_what_has_not_ended(
    store: Store, database: Database, new_draft: NewDraft, begin: Begin
) -> None:
    assert await store.depth() == Depth(
        by_state={State.QUEUED: 0, State.SENDING: 0, State.UNKNOWN: 0}, oldest_due_seconds=0.0
    )
    await store.accept(new_draft(lane="b"), owner=None)
    await database.advance(5.0)
    await store.accept(new_draft(lane="a"), owner=None)
    await begin()
    held, dropped, sent = await begin(), await begin(), await begin()
    for claim in (held, dropped):
        await store.finish(claim, Ending(state=State.UNKNOWN, attempt=Attempt()))
    await store.drop(dropped.kept.id)
    await store.finish(sent, Ending(state=State.SENT, attempt=Attempt()))

    depth = await store.depth()

    assert depth.by_state == {State.QUEUED: 2, State.SENDING: 1, State.UNKNOWN: 1}
    assert depth.oldest_due_seconds == pytest.approx(5.0, abs=1.0)


async def test_a_deferred_message_is_not_overdue(store: Store, begin: Begin) -> None:
    claim = await begin()
    await store.finish(claim, Ending(state=State.QUEUED, attempt=Attempt(), delay=30.0))

    assert (await store.depth()).oldest_due_seconds == 0.0


async def test_a_message_is_read_as_it_was_written_last(store: Store, new_draft: NewDraft) -> None:
    for _ in range(20):
        draft = new_draft()
        await store.accept(draft, owner=None)
        kept = await store.get(draft.id)
        assert kept is not None
        await store.cancel(draft.id)
        kept = await store.get(draft.id)
        assert kept is not None
        assert kept.state is State.CANCELLED
