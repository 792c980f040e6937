from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from smtpconnector_server.failure import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Draft
    from smtpconnector_server.store.store import Store

    NewDraft = Callable[..., Draft]


async def test_servers_count_against_one_limit(store: Store, database: Database) -> None:
    other = await database.open()
    windows = [(3, 30.0)]

    assert [await server.take(b"k", windows) for server in (store, other, store)] == [0.0, 0.0, 0.0]

    assert await other.take(b"k", windows) == pytest.approx(10.0, abs=1.0)
    assert await other.take(b"another", windows) == 0.0
    await database.advance(10.0)
    assert await other.take(b"k", windows) == 0.0
    assert await store.take(b"k", windows) > 0.0


async def test_every_limit_must_allow_it_and_a_refusal_counts_against_none(store: Store, database: Database) -> None:
    windows = [(2, 10.0), (3, 1000.0)]
    for _ in range(2):
        assert await store.take(b"k", windows) == 0.0
    for _ in range(5):
        assert await store.take(b"k", windows) == pytest.approx(5.0, abs=1.0)
    await database.advance(6.0)
    assert await store.take(b"k", windows) == 0.0
    await database.advance(20.0)
    assert await store.take(b"k", windows) > 100.0


async def test_a_change_of_the_limits_begins_anew(store: Store) -> None:
    assert await store.take(b"k", [(1, 1000.0)]) == 0.0
    assert await store.take(b"k", [(1, 1000.0), (5, 10.0)]) == 0.0
    assert await store.take(b"k", []) == 0.0


async def test_counts_at_the_same_moment_all_count(store: Store, database: Database) -> None:
    other = await database.open()

    waits = await asyncio.gather(*(server.take(b"k", [(10, 1000.0)]) for _ in range(10) for server in (store, other)))

    assert waits.count(0.0) == 10


async def test_a_key_that_has_room_again_is_forgotten(store: Store, database: Database) -> None:
    await store.take(b"k", [(1, 10.0)])
    await database.advance(5.0)
    await store.sweep(retention=1.0, limit=10)
    assert await store.take(b"k", [(1, 10.0)]) > 0.0
    await database.advance(5.0)
    await store.sweep(retention=1.0, limit=10)

    assert await store.take(b"k", [(1, 10.0)]) == 0.0


async def test_a_pause_is_shared_until_it_ends_or_is_taken_back(store: Store, database: Database) -> None:
    other = await database.open()
    await store.report_server(b"a", paused_for=10.0, reason=Reason.SMTP_CONNECT_FAILED)
    await store.report_server(b"b", paused_for=20.0, reason=None)
    await store.report_server(b"c", paused_for=20.0, reason=Reason.SMTP_CONNECT_FAILED)
    await store.report_server(b"c", paused_for=30.0, reason=Reason.SMTP_CONNECT_TIMEOUT)

    paused = await other.paused_servers()

    assert {key: reason for key, (_, reason) in paused.items()} == {
        b"a": "SMTP_CONNECT_FAILED",
        b"b": "",
        b"c": "SMTP_CONNECT_TIMEOUT",
    }
    assert paused[b"c"][0] == pytest.approx(30.0, abs=1.0)
    await other.report_server(b"b", paused_for=0.0, reason=None)
    await database.advance(10.0)
    assert set(await store.paused_servers()) == {b"c"}
    await store.sweep(retention=1.0, limit=10)
    assert set(await store.paused_servers()) == {b"c"}


async def test_the_first_value_of_a_name_is_kept_until_it_is_exchanged(store: Store, database: Database) -> None:
    other = await database.open()

    assert await store.keep("key", b"1") == b"1"
    assert await other.keep("key", b"2") == b"1"
    assert await other.keep("key", b"3", instead_of=b"2") == b"1"
    assert await other.keep("key", b"3", instead_of=b"1") == b"3"
    assert await store.keep("key", b"4") == b"3"
    assert await store.keep("other", b"5", instead_of=b"9") == b"5"


async def test_five_hundred_at_once_are_accepted_once_each(
    store: Store, database: Database, new_draft: NewDraft
) -> None:
    other = await database.open()
    drafts = [new_draft(request_hash=b"same" if number % 10 == 0 else None) for number in range(500)]

    results = await asyncio.gather(
        *((store, other)[number % 2].accept(draft, owner=None) for number, draft in enumerate(drafts))
    )

    assert sum(result is None for result in results) == 451
    (kept,) = {result for result in results if result is not None}
    assert kept == await store.find(b"same")
    assert (await store.depth()).by_state["QUEUED"] == 451


async def test_of_ten_with_one_key_at_once_one_is_left(store: Store, database: Database, new_draft: NewDraft) -> None:
    other = await database.open()
    drafts = [new_draft(supersede_hash=b"s") for _ in range(10)]

    await asyncio.gather(*((store, other)[number % 2].accept(draft, owner=None) for number, draft in enumerate(drafts)))

    assert (await store.depth()).by_state["QUEUED"] == 1
