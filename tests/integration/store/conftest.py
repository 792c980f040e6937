"""The same tests for each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.drafts import draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.databases import Database
    from smtpconnector_server.store.record import Claim, Draft
    from smtpconnector_server.store.store import Store


@pytest.fixture
async def store(database: Database) -> Store:
    """A store on it."""
    return await database.open()


@pytest.fixture
async def new_draft(database: Database) -> Callable[..., Draft]:
    """Make drafts that expire in a minute."""
    now = await database.now()
    return lambda **changes: draft(now, **changes)


@pytest.fixture
async def begin(store: Store, new_draft: Callable[..., Draft]) -> Callable[..., Any]:
    """Accept a message that its owner, who is alive, sends at once."""

    async def begin(owner: str = "a", **changes: Any) -> Claim:
        await store.beat(owner, lease=30.0)
        claim = await store.accept(new_draft(**changes), owner=owner)
        assert claim is not None
        assert hasattr(claim, "sealed")
        return claim

    return begin
