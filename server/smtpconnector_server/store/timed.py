"""A store that tells how long its operations take, whichever engine does them."""

# ruff: noqa: D102 - the protocol documents them

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from smtpconnector_server.store.events import StoreAsked
from smtpconnector_server.store.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from smtpconnector_server.failure import Reason
    from smtpconnector_server.store.events import StoreHook
    from smtpconnector_server.store.record import Claim, Depth, Draft, Ending, Filter, Kept, Swept


class TimedStore(Store):
    """Passes everything on.

    Args:
        store: Does it.
        hook: Told how long it took.
    """

    def __init__(self, store: Store, hook: StoreHook) -> None:
        self._store = store
        self._hook = hook

    @contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        started, has_failed = time.monotonic(), False
        try:
            yield
        except StoreError:
            has_failed = True  # any other error is an answer
            raise
        finally:
            self._hook(StoreAsked(operation, time.monotonic() - started, has_failed))

    async def accept(self, draft: Draft, *, owner: str | None) -> Claim | Kept | None:
        with self._timed("accept"):
            return await self._store.accept(draft, owner=owner)

    async def reopen(self, draft: Draft, kept: Kept, *, owner: str) -> Claim | None:
        with self._timed("reopen"):
            return await self._store.reopen(draft, kept, owner=owner)

    async def beat(self, owner: str, *, lease: float) -> None:
        with self._timed("beat"):
            await self._store.beat(owner, lease=lease)

    async def leave(self, owner: str) -> None:
        with self._timed("leave"):
            await self._store.leave(owner)

    async def due_lanes(self, *, limit: int) -> list[str]:
        with self._timed("due_lanes"):
            return await self._store.due_lanes(limit=limit)

    async def claim(self, owner: str, lane: str, *, count: int) -> list[Claim]:
        with self._timed("claim"):
            return await self._store.claim(owner, lane, count=count)

    async def commit(self, claim: Claim) -> float:
        with self._timed("commit"):
            return await self._store.commit(claim)

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        with self._timed("finish"):
            return await self._store.finish(claim, ending)

    async def get(self, delivery_id: str) -> Kept | None:
        with self._timed("get"):
            return await self._store.get(delivery_id)

    async def find(self, request_hash: bytes) -> Kept | None:
        with self._timed("find"):
            return await self._store.find(request_hash)

    async def cancel(self, delivery_id: str) -> Kept | None:
        with self._timed("cancel"):
            return await self._store.cancel(delivery_id)

    async def send_again(self, delivery_id: str) -> Kept | None:
        with self._timed("send_again"):
            return await self._store.send_again(delivery_id)

    async def drop(self, delivery_id: str) -> Kept | None:
        with self._timed("drop"):
            return await self._store.drop(delivery_id)

    async def sweep(self, *, retention: float, limit: int) -> Swept:
        with self._timed("sweep"):
            return await self._store.sweep(retention=retention, limit=limit)

    async def depth(self) -> Depth:
        with self._timed("depth"):
            return await self._store.depth()

    async def take(self, key: bytes, windows: Sequence[tuple[int, float]]) -> float:
        with self._timed("take"):
            return await self._store.take(key, windows)

    async def report_server(self, key: bytes, *, paused_for: float, reason: Reason | None) -> None:
        with self._timed("report_server"):
            await self._store.report_server(key, paused_for=paused_for, reason=reason)

    async def paused_servers(self) -> Mapping[bytes, tuple[float, str]]:
        with self._timed("paused_servers"):
            return await self._store.paused_servers()

    async def keep(self, name: str, value: bytes, *, instead_of: bytes | None = None) -> bytes:
        with self._timed("keep"):
            return await self._store.keep(name, value, instead_of=instead_of)

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._store.on_change(listener)

    async def close(self) -> None:
        await self._store.close()

    # Last: in the body of the class its name hides the built-in type from the annotations after it.
    async def list(self, which: Filter, *, limit: int) -> list[Kept]:
        with self._timed("list"):
            return await self._store.list(which, limit=limit)
