"""The store's methods over any engine that can run operations."""

# ruff: noqa: D102 - the protocol documents them

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from smtpconnector_server.store import operations
from smtpconnector_server.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from smtpconnector_server.failure import Reason
    from smtpconnector_server.store.operations import Operation
    from smtpconnector_server.store.record import Claim, Depth, Draft, Ending, Filter, Kept, Swept

T = TypeVar("T")


class SqlStore(Store):
    """Translates calls to operations, which its engine runs."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[str], None]] = []

    @abstractmethod
    async def _write(self, make: Callable[[], Operation[T]], *, in_turn: bytes | None = None) -> T:
        """Run an operation durably, and tell the listeners what changed.

        Args:
            make: Starts the operation, more than once if need be.
            in_turn: Operations with the same key come one after the other, each as one transaction. None: each query is
                complete by itself.

        Raises:
            StoreError: It could not be done.
        """

    @abstractmethod
    async def _read(self, make: Callable[[], Operation[T]]) -> T:
        """Run an operation that changes nothing; it sees all that this store has returned from.

        Raises:
            StoreError: It could not be done.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and let go of files and connections."""

    async def accept(self, draft: Draft, *, owner: str | None) -> Claim | Kept | None:
        return await self._write(partial(operations.accept, draft, owner=owner), in_turn=draft.supersede_hash)

    async def reopen(self, draft: Draft, kept: Kept, *, owner: str) -> Claim | None:
        return await self._write(partial(operations.reopen, draft, kept, owner=owner), in_turn=draft.supersede_hash)

    async def beat(self, owner: str, *, lease: float) -> None:
        await self._write(partial(operations.beat, owner, lease=lease))

    async def leave(self, owner: str) -> None:
        await self._write(partial(operations.leave, owner))

    async def due_lanes(self, *, limit: int) -> list[str]:
        return await self._read(partial(operations.due_lanes, limit=limit))

    async def claim(self, owner: str, lane: str, *, count: int) -> list[Claim]:
        return await self._write(partial(operations.claim, owner, lane, count=count))

    async def commit(self, claim: Claim) -> float:
        return await self._write(partial(operations.commit, claim))

    async def finish(self, claim: Claim, ending: Ending) -> bool:
        return await self._write(partial(operations.finish, claim, ending))

    async def get(self, delivery_id: str) -> Kept | None:
        return await self._read(partial(operations.get, delivery_id))

    async def find(self, request_hash: bytes) -> Kept | None:
        return await self._read(partial(operations.find, request_hash))

    async def cancel(self, delivery_id: str) -> Kept | None:
        return await self._write(partial(operations.cancel, delivery_id))

    async def send_again(self, delivery_id: str) -> Kept | None:
        return await self._write(partial(operations.send_again, delivery_id))

    async def drop(self, delivery_id: str) -> Kept | None:
        return await self._write(partial(operations.drop, delivery_id))

    async def sweep(self, *, retention: float, limit: int) -> Swept:
        return await self._write(partial(operations.sweep, retention=retention, limit=limit))

    async def depth(self) -> Depth:
        return await self._read(operations.depth)

    async def take(self, key: bytes, windows: Sequence[tuple[int, float]]) -> float:
        return await self._write(partial(operations.take, key, windows), in_turn=key)

    async def report_server(self, key: bytes, *, paused_for: float, reason: Reason | None) -> None:
        await self._write(partial(operations.report_server, key, paused_for=paused_for, reason=reason or ""))

    async def paused_servers(self) -> Mapping[bytes, tuple[float, str]]:
        return await self._read(operations.paused_servers)

    async def keep(self, name: str, value: bytes, *, instead_of: bytes | None = None) -> bytes:
        return await self._write(partial(operations.keep, name, value, instead_of=instead_of))

    def on_change(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def _tell(self, changed: Sequence[str]) -> None:
        """Call the listeners; for the engine, in the event loop, after what changed is durable."""
        for delivery_id in changed:
            for listener in self._listeners:
                listener(delivery_id)

    # Last: in the body of the class its name hides the built-in type from the annotations after it.
    async def list(self, which: Filter, *, limit: int) -> list[Kept]:
        return await self._read(partial(operations.list_, which, limit=limit))
