"""The one thread that writes to a SQLite file, with group commit.

Whatever waits while a transaction is made durable goes into the next one together: a fsync serves as many callers as
there are. Each operation runs in a savepoint, so that one's error undoes nothing of the others. A caller is answered
after the COMMIT of its operation, never before.
"""

from __future__ import annotations

import queue
import random
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from smtpconnector_server.store.operations import Done
from smtpconnector_server.store.store import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from smtpconnector_server.store.operations import Operation

T = TypeVar("T")

_MOST_IN_ONE: Final = 256
_EMPTY_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"
_IO_ERRORS: Final = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM}
"""After these the connection is not used again."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    make: Callable[[], Operation[T]]
    future: asyncio.Future[T]


class Writer:
    """Runs operations in transactions, in the order in which they came.

    Args:
        connect: Opens the file; called in the thread.
        run: Runs one operation in the connection's transaction.
        tell: Called in the event loop with what changed, after it is durable.
        loop: Where the callers wait.
        busy_seconds: How long another process may hold the file before we give up.
        scrub_seconds: How long what was destroyed may still be read in the write-ahead log.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        run: Callable[[sqlite3.Connection, Operation[Any]], Done[Any]],
        tell: Callable[[Sequence[str]], None],
        *,
        loop: asyncio.AbstractEventLoop,
        busy_seconds: float,
        scrub_seconds: float,
    ) -> None:
        self._connect = connect
        self._run = run
        self._tell = tell
        self._loop = loop
        self._busy_seconds = busy_seconds
        self._scrub_seconds = scrub_seconds
        self._scrub_at: float | None = time.monotonic()
        """When to empty the write-ahead log; None: it is empty. At once after the start: a process that was killed may
        have left one."""
        self.has_failed = False
        """Whether the disk has failed, and what is in the log may never have reached it."""
        self._connection: sqlite3.Connection | None = None
        self._queue: queue.SimpleQueue[_Waiting[Any] | None] = queue.SimpleQueue()
        self._ended = loop.create_future()
        self.is_closed = False
        # A daemon: a process that ends without closing the store loses nothing that it has answered.
        threading.Thread(target=self._work, name="store-writer", daemon=True).start()

    async def write(self, make: Callable[[], Operation[T]]) -> T:
        """Run an operation and make it durable.

        Raises:
            StoreError: It could not be done.
        """
        if self.is_closed:
            raise StoreError("the store is closed", is_certain=True)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Waiting(make, future))
        return await future

    async def close(self) -> None:
        """Finish what waits, and close the file."""
        self.is_closed = True
        self._queue.put(None)
        await self._ended

    def _work(self) -> None:
        is_open = True
        while is_open:
            batch: list[_Waiting[Any]] = []
            try:
                first = self._queue.get(timeout=self._idle_seconds())
                while first is not None:
                    batch.append(first)
                    if len(batch) == _MOST_IN_ONE or self._queue.empty():
                        break
                    first = self._queue.get()
                is_open = first is not None
            except queue.Empty:
                pass
            if batch:
                self._call(self._deliver, batch, self._transact(batch))
            self._scrub()
        self._disconnect()
        self._call(self._ended.set_result, None)

    def _transact(self, batch: list[_Waiting[Any]]) -> list[Done[Any] | Exception]:
        """Run a batch in one transaction, and return what each of its callers gets."""
        is_committing = False
        try:
            connection = self._begin()
            answers = [self._step(connection, waiting) for waiting in batch]
            is_committing = True
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            code = _code(error)
            self._roll_back(is_broken=code in _IO_ERRORS)
            if code == sqlite3.SQLITE_FULL and len(batch) > 1:
                return [answer for waiting in batch for answer in self._transact([waiting])]
            is_certain = not is_committing or code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY}
            return [StoreError(str(error), is_certain=is_certain) for _ in batch]
        self._scrub_at = self._scrub_at or time.monotonic() + self._scrub_seconds
        return answers

    def _begin(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
            if self.has_failed:
                # After a failed fsync the kernel takes what it could not write for written. Whatever was written behind
                # it in the log could be lost with it: copy all of the log into the database, and begin it anew.
                self._execute(self._connection, _EMPTY_LOG)
                self.has_failed = False
        self._execute(self._connection, "BEGIN IMMEDIATE")
        return self._connection

    def _execute(self, connection: sqlite3.Connection, sql: str) -> None:
        """Execute what other processes may be in the way of."""
        waited_until = time.monotonic() + self._busy_seconds
        while True:
            try:
                row = connection.execute(sql).fetchone()
                if row is None or not row[0]:  # a checkpoint says so in its row that it is in somebody's way
                    return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY:
                    raise
            if time.monotonic() > waited_until:
                raise StoreError("the database is locked by another process", is_certain=True)
            # SQLite's own waiting grows to a tenth of a second: too coarse for processes that take turns.
            time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - no secret

    def _step(self, connection: sqlite3.Connection, waiting: _Waiting[T]) -> Done[T] | Exception:
        connection.execute("SAVEPOINT operation")
        try:
            done = self._run(connection, waiting.make())
        except sqlite3.Error as error:
            if not connection.in_transaction or _code(error) in _IO_ERRORS:
                raise  # SQLite has undone, or must undo, the whole transaction
            connection.execute("ROLLBACK TO operation")
            done_or_error: Done[T] | Exception = StoreError(str(error), is_certain=True)
        except Exception as error:  # noqa: BLE001 - it is the caller's, who gets it
            connection.execute("ROLLBACK TO operation")
            done_or_error = error
        else:
            done_or_error = done
        connection.execute("RELEASE operation")
        return done_or_error

    def _roll_back(self, *, is_broken: bool) -> None:
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            is_broken = True
        if is_broken:
            self.has_failed = True
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._scrub_at = None

    def _deliver(self, batch: list[_Waiting[Any]], answers: list[Done[Any] | Exception]) -> None:
        changed: list[str] = []
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Done):
                changed.extend(answer.changed)
            if waiting.future.done():
                continue  # its caller was cancelled
            if isinstance(answer, Done):
                waiting.future.set_result(answer.result)
            else:
                waiting.future.set_exception(answer)
        self._tell(changed)

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the event loop is closed, and with it everybody who waited
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _idle_seconds(self) -> float | None:
        if self._scrub_at is None or self._connection is None:
            return None
        return max(0.0, self._scrub_at - time.monotonic())

    def _scrub(self) -> None:
        """Empty the write-ahead log now and then, for the old pages in it hold what has been destroyed since."""
        now = time.monotonic()
        if self._scrub_at is None or now < self._scrub_at or self._connection is None:
            return
        try:
            ((is_busy, *_),) = self._connection.execute(_EMPTY_LOG)
        except sqlite3.Error:
            is_busy = True
        self._scrub_at = now + min(1.0, self._scrub_seconds) if is_busy else None


def _code(error: Exception) -> int:
    """Return SQLite's primary result code, without what an extended one adds."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
