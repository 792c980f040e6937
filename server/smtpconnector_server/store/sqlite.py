"""The store in a SQLite file: for one machine, with nothing to install, by any number of processes.

Everything that was answered survives the death of the machine: WAL with ``synchronous=FULL``, one fsync a transaction.
What was destroyed is overwritten with zeros in the file (``secure_delete``); its old pages stay in the write-ahead log
for at most about half a minute, until that is emptied. What the file system, the disk or a snapshot keeps of blocks
that were given back is out of reach; that is why content is encrypted under a key that is destroyed with it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from smtpconnector_server.store.dialect import Dialect
from smtpconnector_server.store.migrations import migrate
from smtpconnector_server.store.rows import micros
from smtpconnector_server.store.sql_store import SqlStore
from smtpconnector_server.store.store import StoreError
from smtpconnector_server.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from smtpconnector_server.store.operations import Done, Operation

T = TypeVar("T")

DIALECT: Final = Dialect(now=":now", skip_locked="", blob="BLOB", text="TEXT")
_OLDEST: Final = (3, 35, 0)
"""The first with RETURNING."""
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS, where fsync alone leaves it in the disk's cache
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",  # no copy of anything in a temporary file
    "PRAGMA trusted_schema = OFF",
)


class SqliteStore(SqlStore):
    """A store in a file; see :meth:`open`."""

    busy_seconds: ClassVar = 5.0
    """How long another process may hold the file before an operation fails."""
    scrub_seconds: ClassVar = 30.0
    """How long what was destroyed may still be read in the write-ahead log, in a process that lives."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._path = path
        self._clock = clock
        self._reader: sqlite3.Connection | None = None
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._writer = Writer(
            self._connect,
            self._run,
            self._tell,
            loop=asyncio.get_running_loop(),
            busy_seconds=self.busy_seconds,
            scrub_seconds=self.scrub_seconds,
        )

    @classmethod
    async def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open a file, or make it, readable by nobody else; and bring its schema up to date.

        Args:
            path: The file, in a folder that exists, on a disk of this machine. SQLite puts two more beside it.
            clock: Seconds since the epoch.

        Raises:
            StoreError: It can not be opened, or a newer program has made it.
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed", is_certain=True)
        try:
            # Only if it is missing: closing a file that SQLite has open in this process would drop its locks.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            pass
        except OSError as error:
            raise StoreError(f"the store can not be made: {error.strerror}", is_certain=True) from error
        store = cls(path, clock=clock)
        try:
            await store._write(migrate)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Finish what was begun, empty the write-ahead log and close the file."""
        if not self._writer.is_closed:
            await self._writer.close()
            await asyncio.get_running_loop().run_in_executor(self._reading, self._close_reader)
            self._reading.shutdown(wait=False)

    async def _write(self, make: Callable[[], Operation[T]], *, in_turn: bytes | None = None) -> T:
        del in_turn  # all operations are, in the one thread that writes
        return await self._writer.write(make)

    async def _read(self, make: Callable[[], Operation[T]]) -> T:
        if self._writer.is_closed:
            raise StoreError("the store is closed", is_certain=True)
        if self._writer.has_failed:
            raise StoreError("the disk has failed: what is there may not last", is_certain=True)
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._reading, partial(self._read_now, make))).result

    def _read_now(self, make: Callable[[], Operation[T]]) -> Done[T]:
        try:
            if self._reader is None:
                self._reader = self._connect()
                self._reader.execute(f"PRAGMA busy_timeout = {self.busy_seconds * 1000:.0f}")
                self._reader.execute("PRAGMA query_only = ON")
            return self._run(self._reader, make())
        except sqlite3.Error as error:
            self._close_reader()
            raise StoreError(str(error), is_certain=True) from error

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _run(self, connection: sqlite3.Connection, operation: Operation[T]) -> Done[T]:
        """Hold an operation's conversation."""
        now = micros(self._clock())
        rows: list[Any] = []
        try:
            query = next(operation)
            while True:
                rows = connection.execute(DIALECT.render(query.sql), {**query.values, "now": now}).fetchall()
                query = operation.send(rows)
        except StopIteration as end:
            done: Done[T] = end.value
            return done
        finally:
            operation.close()

    def _connect(self) -> sqlite3.Connection:
        # It is closed by whichever thread comes last, and used by one.
        connection = sqlite3.connect(self._path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            self._switch_to_wal(connection)
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Set the journal mode, which is the file's: the first process does it, while others may be about to."""
        waited_until = time.monotonic() + self.busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > waited_until:
                    raise
                time.sleep(0.005)
            else:
                return
