"""What only the engine in a file can do wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from harness.drafts import draft
from smtpconnector_server.store import statements
from smtpconnector_server.store.operations import Done, Query
from smtpconnector_server.store.record import Attempt, Claim, Ending, Filter, Sealed
from smtpconnector_server.store.sqlite import DIALECT, SqliteStore
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import FenceError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smtpconnector_server.store.operations import Operation

NOW = 1_800_000_000.0
SENT = Ending(state=State.SENT, attempt=Attempt())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(file, clock=lambda: NOW)
    yield store
    await store.close()


async def test_its_files_are_nobody_elses(store: SqliteStore, file: Path) -> None:
    await store.accept(draft(NOW), owner=None)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}

    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


async def test_what_was_accepted_is_there_after_the_store_is_opened_again(file: Path) -> None:
    first = await SqliteStore.open(file)
    message = draft(NOW)
    await first.accept(message, owner=None)
    await first.close()
    assert [path.name for path in file.parent.iterdir()] == ["store.db"]

    second = await SqliteStore.open(file)

    kept = await second.get(message.id)
    await second.close()
    assert kept is not None
    assert kept.message_id == message.message_id


async def test_stores_that_are_opened_at_once_make_the_schema_once(file: Path) -> None:
    stores = await asyncio.gather(*(SqliteStore.open(file) for _ in range(8)))
    for store in stores:
        await store.close()

    assert _rows(file, "SELECT version FROM schema_version") == [(1,)]


async def test_a_store_of_a_newer_program_is_refused(file: Path) -> None:
    await (await SqliteStore.open(file)).close()
    _rows(file, "INSERT INTO schema_version (version) VALUES (999)")

    with pytest.raises(StoreError, match="schema 999, made by a newer smtpconnector"):
        await SqliteStore.open(file)


async def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can not be made: No such file or directory"):
        await SqliteStore.open(tmp_path / "nowhere" / "store.db")


def test_a_file_that_is_no_store_is_refused_and_left_alone(file: Path) -> None:
    file.write_bytes(b"precious" * 1000)

    with pytest.raises(StoreError, match="not a database"):
        asyncio.run(SqliteStore.open(file))

    assert file.read_bytes() == b"precious" * 1000


async def test_a_failed_operation_undoes_nothing_of_those_in_its_transaction(store: SqliteStore) -> None:
    claim = await store.accept(draft(NOW), owner="a")
    assert isinstance(claim, Claim)
    await store.cancel(claim.kept.id)
    messages = [draft(NOW) for _ in range(20)]

    def breaks_off() -> Operation[None]:
        yield Query("UPDATE delivery SET state = 'SENT'", {})
        yield Query("SELECT no_such_column FROM delivery", {})
        return Done(None)

    results = await asyncio.gather(
        *(store.accept(message, owner=None) for message in messages[:10]),
        store.commit(claim),
        store._write(breaks_off),
        *(store.accept(message, owner=None) for message in messages[10:]),
        return_exceptions=True,
    )

    assert [type(result) for result in results if result is not None] == [FenceError, StoreError]
    kept = await store.list(Filter(states=(State.QUEUED,)), limit=100)
    assert {one.id for one in kept} == {message.id for message in messages}


async def test_a_caller_that_is_cancelled_leaves_no_half_and_holds_up_nobody(store: SqliteStore) -> None:
    messages = [draft(NOW, supersede_hash=b"s") for _ in range(20)]
    calls = [asyncio.create_task(store.accept(message, owner=None)) for message in messages]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()

    results = await asyncio.gather(*calls, return_exceptions=True)

    assert {type(result) for result in results[::2]} == {asyncio.CancelledError}
    assert results[1::2] == [None] * 10
    by_state = [kept.state for kept in await store.list(Filter(), limit=100)]
    assert by_state.count(State.QUEUED) == 1
    assert set(by_state) == {State.QUEUED, State.SUPERSEDED}


async def test_closing_finishes_what_waits_and_then_refuses(file: Path) -> None:
    store = await SqliteStore.open(file)
    calls = [asyncio.create_task(store.accept(draft(NOW), owner=None)) for _ in range(50)]
    await asyncio.sleep(0)

    await store.close()

    assert await asyncio.gather(*calls) == [None] * 50
    assert _rows(file, "SELECT count(*) FROM delivery") == [(50,)]
    with pytest.raises(StoreError, match="closed") as refused:
        await store.accept(draft(NOW), owner=None)
    assert refused.value.is_certain
    with pytest.raises(StoreError, match="closed"):
        await store.depth()
    await store.close()


async def test_a_file_that_another_process_holds_is_waited_for_but_not_for_ever(file: Path) -> None:
    class Impatient(SqliteStore):
        busy_seconds = 0.1

    patient, impatient = await SqliteStore.open(file), await Impatient.open(file)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(patient.accept(draft(NOW), owner=None))

    with pytest.raises(StoreError, match="locked") as refused:
        await impatient.accept(draft(NOW), owner=None)

    assert refused.value.is_certain
    assert not waiting.done()
    assert (await patient.depth()).by_state[State.QUEUED] == 0  # reading needs no turn
    other.close()
    assert await waiting is None
    await patient.close()
    await impatient.close()


async def test_a_full_disk_refuses_what_does_not_fit_and_nothing_else(file: Path) -> None:
    class Small(SqliteStore):
        def _connect(self) -> sqlite3.Connection:
            connection = super()._connect()
            connection.execute("PRAGMA max_page_count = 60")
            return connection

    store = await Small.open(file, clock=lambda: NOW)
    too_large = Sealed(key_id="k", wrapped_key=b"w", content=bytes(300_000))
    small, large = [draft(NOW) for _ in range(6)], [draft(NOW, sealed=too_large) for _ in range(2)]

    results = await asyncio.gather(
        *(store.accept(message, owner="a") for message in (*small[:3], *large, *small[3:])), return_exceptions=True
    )

    claims = [claim for claim in results if isinstance(claim, Claim)]
    assert [claim.kept.id for claim in claims] == [message.id for message in small]
    for error in results[3:5]:
        assert isinstance(error, StoreError)
        assert error.is_certain
    assert await store.get(large[0].id) is None
    assert await store.finish(claims[0], SENT)

    def grow() -> Operation[None]:
        yield Query("PRAGMA max_page_count = 10000", {})
        return Done(None)

    await store._write(grow)
    assert await store.accept(large[0], owner=None) is None
    await store.close()


class _Failing(sqlite3.Connection):
    """A file whose disk fails at the next COMMIT."""

    fails = False
    executed: ClassVar[list[str]] = []

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        _Failing.executed.append(sql)
        if sql == "COMMIT" and _Failing.fails:
            _Failing.fails = False
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(sql, *parameters)


async def test_a_failed_fsync_leaves_it_open_what_was_done_and_the_file_is_opened_anew(file: Path) -> None:
    opened: list[sqlite3.Connection] = []

    class OnBadDisk(SqliteStore):
        def _connect(self) -> sqlite3.Connection:
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, factory=_Failing, cached_statements=0
            )
            opened.append(connection)
            return connection

    store = await OnBadDisk.open(file, clock=lambda: NOW)
    _Failing.fails = True
    _Failing.executed.clear()

    with pytest.raises(StoreError, match="disk I/O error") as failed:
        await store.accept(draft(NOW), owner=None)

    assert not failed.value.is_certain
    with pytest.raises(StoreError, match="the disk has failed"):
        await store.depth()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
    assert await store.accept(draft(NOW), owner=None) is None
    assert (await store.depth()).by_state[State.QUEUED] == 1
    # What the log holds may not be on the disk: nothing is written behind it.
    afterwards = _Failing.executed[_Failing.executed.index("COMMIT") :]
    assert afterwards.index("PRAGMA wal_checkpoint(TRUNCATE)") < afterwards.index("BEGIN IMMEDIATE")
    await store.close()


_ON_LIMITED_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from harness.drafts import draft
from smtpconnector_server.store.sqlite import SqliteStore
from smtpconnector_server.store.store import StoreError

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = await SqliteStore.open(Path(sys.argv[1]))
    accepted = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    try:
        while True:
            accepted.append(draft(0))
            await store.accept(accepted[-1], owner=None)
    except StoreError:
        accepted.pop()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    accepted.append(draft(0))
    await store.accept(accepted[-1], owner=None)
    print(len(accepted), sum([await store.get(message.id) is not None for message in accepted]))
    await store.close()

asyncio.run(main())
"""


def _environment() -> dict[str, str]:
    """Return an environment in which a process finds the test tools as this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


async def test_a_file_that_can_not_grow_is_used_again_when_it_can(file: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ON_LIMITED_DISK, str(file), stdout=asyncio.subprocess.PIPE, env=_environment()
    )

    output, _ = await process.communicate()

    accepted, kept = map(int, output.split())
    assert accepted == kept > 1
    assert _rows(file, "PRAGMA integrity_check") == [("ok",)]


_UNTIL_IT_IS_KILLED = """
import asyncio, itertools, sys, time
from pathlib import Path
from harness.drafts import draft
from smtpconnector_server.store.record import Attempt, Ending
from smtpconnector_server.store.sqlite import SqliteStore
from smtpconnector_server.store.state import State

async def work(store, name):
    for number in itertools.count():
        message = draft(time.time(), id=f"{name}-{number}")
        claim = await store.accept(message, owner=name)
        print(message.id, "SENDING", flush=True)
        await store.commit(claim)
        print(message.id, "committed", flush=True)
        await store.finish(claim, Ending(state=State.SENT, attempt=Attempt()))
        print(message.id, "SENT", flush=True)

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(work(store, f"{sys.argv[2]}{number}") for number in range(8)))

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_has_answered(file: Path) -> None:
    told: dict[str, str] = {}
    for name, lines in (("a", 50), ("b", 500)):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _UNTIL_IT_IS_KILLED, str(file), name),
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
        )
        assert process.stdout is not None
        answers = [await process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        answers += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
        told |= dict(answer.decode().split() for answer in answers if answer.endswith(b"\n"))

    assert _rows(file, "PRAGMA integrity_check") == [("ok",)]
    kept = {
        row[0]: {row[1]} | ({"committed"} if row[2] else set()) | ({"SENDING"} if row[1] == "SENT" else set())
        for row in _rows(file, "SELECT id, state, is_committed FROM delivery")
    }
    lost = {name: state for name, state in told.items() if state not in kept.get(name, ())}
    assert len(told) > 10
    assert lost == {}


async def test_no_octet_of_a_message_that_has_ended_is_left_in_the_files(file: Path) -> None:
    class Scrubbing(SqliteStore):
        scrub_seconds = 0.02

    time = NOW
    store = await Scrubbing.open(file, clock=lambda: time)
    secret = b"Your code is 123456. "
    sealed = Sealed(key_id="k", wrapped_key=b"the wrapped key", content=secret * 1000)
    await store.beat("a", lease=1000.0)
    ends: list[Any] = []
    for state in (State.SENT, State.REJECTED, State.NOT_SENT, State.EXPIRED):
        claim = await store.accept(draft(NOW, sealed=sealed), owner="a")
        assert isinstance(claim, Claim)
        await store.commit(claim)
        ends.append(await store.finish(claim, Ending(state=state, attempt=Attempt())))
    cancelled = draft(NOW, sealed=sealed, supersede_hash=b"s")
    await store.accept(draft(NOW, sealed=sealed, supersede_hash=b"s"), owner=None)
    await store.accept(cancelled, owner=None)
    await store.cancel(cancelled.id)
    for _ in range(3):  # one is dropped, one let go, and one expires in the queue
        claim = await store.accept(draft(NOW, sealed=sealed), owner="a")
        assert isinstance(claim, Claim)
        await store.commit(claim)
        await store.finish(claim, Ending(state=State.UNKNOWN, attempt=Attempt()))
    await store.drop(claim.kept.id)
    await store.accept(draft(NOW, sealed=sealed), owner=None)
    assert secret in _octets(file)
    time += 60.0
    await store.sweep(retention=1e9, limit=100)

    async with asyncio.timeout(20.0):
        while file.with_name("store.db-wal").stat().st_size:  # noqa: ASYNC110 - a thread empties it
            await asyncio.sleep(0.01)

    assert len(await store.list(Filter(), limit=100)) == 10
    assert secret not in _octets(file)
    assert b"the wrapped key" not in _octets(file)
    await store.close()


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (statements.INSERT, None),
        (statements.SUPERSEDE, "delivery_supersede"),
        (statements.OVERTAKEN, "delivery_newer"),
        (statements.CLAIM, "delivery_due"),
        (statements.COMMIT, "autoindex_delivery"),
        (statements.FINISH, "autoindex_delivery"),
        (statements.FIND, "delivery_request"),
        (statements.DUE_LANES, "delivery_due"),
        (statements.DEPTH, "delivery_due"),
        (statements.TAKE_OVER, "delivery_in_hand"),
        (statements.LAPSE, "delivery_lapse"),
        (statements.LET_GO, "delivery_held"),
        (statements.RETIME, "delivery_updated"),
        (statements.PURGE, "delivery_updated"),
        (statements.FORGET_MARKS, "rate_empty"),
        (statements.list_of(Filter(states=(State.UNKNOWN,))), "delivery_unknown"),
        (statements.list_of(Filter(caller="shop", before_id="1")), "delivery_caller"),
    ],
)
async def test_no_statement_looks_at_every_message(store: SqliteStore, file: Path, sql: str, index: str | None) -> None:
    connection = sqlite3.connect(file)
    plan = [
        row[3]
        for row in connection.execute(f"EXPLAIN QUERY PLAN {DIALECT.render(sql)}", _Any())  # type: ignore[arg-type]
    ]
    connection.close()

    assert [step for step in plan if step in {"SCAN delivery", "SCAN d", "SCAN rate"}] == []
    assert index is None or any(index in step for step in plan), plan


class _Any(dict[str, Any]):
    """Parameters for a statement that is only explained."""

    def __missing__(self, name: str) -> None:
        return None


def _rows(file: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def _octets(file: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(file.parent.iterdir()))
