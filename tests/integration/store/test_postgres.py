"""What only PostgreSQL does to a store: it restarts, is cut off, has a pooler before it, and many servers at once."""

from __future__ import annotations

import asyncio
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import uvloop

from harness.drafts import draft
from harness.postgres_database import make_database, postgres_database
from harness.proxy import Proxy
from harness.servers.postgres import Postgres, Shutdown, running_pooler, running_postgres
from smtpconnector_server.store import hints, statements
from smtpconnector_server.store.location import LocationError, open_store
from smtpconnector_server.store.postgres import DIALECT, PostgresStore
from smtpconnector_server.store.record import Attempt, Claim, Ending, Filter, Kept, Sealed
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import FenceError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from harness.postgres_database import PostgresDatabase
    from smtpconnector_server.store.record import Draft

pytestmark = pytest.mark.needs_server("postgres")

LISTENING = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
SENT = Ending(state=State.SENT, attempt=Attempt(host="mail.example", reply_code=250))


class Hasty(PostgresStore):
    """A store that gives up soon, for what it can not have."""

    patience_seconds = 0.3
    answer_seconds = 0.5


@pytest.fixture
async def database(postgres: Postgres, postgres_name: str) -> AsyncIterator[PostgresDatabase]:
    async with postgres_database(postgres, postgres_name) as database:
        yield database


@pytest.fixture(scope="module")
def fragile() -> Iterator[Postgres]:
    """A server that tests stop and start."""
    with running_postgres() as server:
        yield server


@pytest.fixture
async def fragile_database(fragile: Postgres) -> AsyncIterator[PostgresDatabase]:
    async with postgres_database(fragile, make_database(fragile)) as database:
        yield database


@pytest.fixture(scope="module")
def pooler_port(postgres: Postgres) -> Iterator[int]:
    with running_pooler(postgres) as port:
        yield port


async def again(work: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the store is there again."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await work()
            except StoreError:
                await asyncio.sleep(0.02)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - nothing in another process rings a bell
            await asyncio.sleep(0.02)


async def send(store: PostgresStore, letter: Draft) -> Claim:
    """Accept a message, and have it leave."""
    claim = await store.accept(letter, owner="a")
    assert isinstance(claim, Claim)
    await store.commit(claim)
    assert await store.finish(claim, SENT)
    return claim


# Many servers at once


async def test_of_two_servers_with_one_request_one_accepts_it_and_the_other_is_told(database: PostgresDatabase) -> None:
    stores = [await database.open() for _ in range(2)]
    now = await database.now()
    for number in range(100):
        request = os.urandom(32)
        drafts = [draft(now, request_hash=request, fingerprint=b"%d" % number) for _ in range(4)]
        answers = await asyncio.gather(
            *(store.accept(letter, owner="a") for store, letter in zip(stores * 2, drafts, strict=True))
        )

        (claim,) = [answer for answer in answers if isinstance(answer, Claim)]
        assert {answer.id for answer in answers if isinstance(answer, Kept)} == {claim.kept.id}


async def test_a_message_is_either_superseded_or_committed(database: PostgresDatabase) -> None:
    one, other = [await database.open() for _ in range(2)]
    now = await database.now()
    seen = set()
    for number in range(100):
        claim = await one.accept(draft(now, supersede_hash=b"%d" % number), owner="a")
        assert isinstance(claim, Claim)
        committing = asyncio.create_task(one.commit(claim))
        for _ in range(number % 7):
            await asyncio.sleep(0)
        await other.accept(draft(now, supersede_hash=b"%d" % number), owner=None)
        await asyncio.wait({committing})
        is_fenced = isinstance(committing.exception(), FenceError)
        kept = await one.get(claim.kept.id)
        assert kept is not None
        assert (kept.state, kept.is_committed) == ((State.SUPERSEDED, False) if is_fenced else (State.SENDING, True))
        seen.add(kept.state)
    assert seen <= {State.SENDING, State.SUPERSEDED}


async def test_of_messages_accepted_at_once_by_two_servers_with_one_supersede_key_one_is_left(
    database: PostgresDatabase,
) -> None:
    stores = [await database.open() for _ in range(2)]
    now = await database.now()
    for number in range(20):
        drafts = [draft(now, supersede_hash=b"%d" % number, lane=f"lane {number}") for _ in range(6)]
        await asyncio.gather(
            *(store.accept(letter, owner=None) for store, letter in zip(stores * 3, drafts, strict=True))
        )
        assert len(await stores[0].claim("a", f"lane {number}", count=10)) == 1


async def test_a_message_is_either_cancelled_or_committed(database: PostgresDatabase) -> None:
    one, other = [await database.open() for _ in range(2)]
    now = await database.now()
    for _ in range(50):
        claim = await one.accept(draft(now), owner="a")
        assert isinstance(claim, Claim)
        committed, cancelled = await asyncio.gather(
            one.commit(claim), other.cancel(claim.kept.id), return_exceptions=True
        )
        assert isinstance(cancelled, Kept)
        is_fenced = isinstance(committed, FenceError)
        assert cancelled.state is (State.CANCELLED if is_fenced else State.SENDING)


async def test_more_operations_than_connections_wait_for_their_turn(database: PostgresDatabase) -> None:
    store = await database.open()
    now = await database.now()

    await asyncio.gather(*(store.accept(draft(now), owner=None) for _ in range(200)))

    assert (await store.depth()).by_state[State.QUEUED] == 200


async def test_servers_that_start_at_once_make_the_schema_once(postgres: Postgres) -> None:
    name = postgres.new_database()
    stores = await asyncio.gather(*(PostgresStore.open(postgres.url(name)) for _ in range(5)))
    for store in stores:
        await store.close()

    assert postgres.execute("SELECT count(*) = max(version) FROM schema_version", name) == "t"
    postgres.drop_database(name)


async def test_a_database_whose_sessions_are_serializable_serves_as_well(database: PostgresDatabase) -> None:
    level = "ALTER DATABASE %s SET default_transaction_isolation = '%s'"
    database.server.execute(level % (database.name, "serializable"))
    try:
        stores = [await database.open() for _ in range(2)]
        now = await database.now()
        drafts = [draft(now, supersede_hash=b"one") for _ in range(20)]
        await asyncio.gather(
            *(
                again(lambda s=store, d=letter: s.accept(d, owner=None))
                for store, letter in zip(stores * 10, drafts, strict=True)
            )  # type: ignore[misc]  # mypy knows no lambda with defaults
        )
        assert (await stores[0].depth()).by_state[State.QUEUED] == 1
    finally:
        database.server.execute(level % (database.name, "read committed"))


# Hints


async def test_a_server_hears_what_another_one_changes(database: PostgresDatabase) -> None:
    one, other = [await database.open() for _ in range(2)]
    heard: asyncio.Queue[str] = asyncio.Queue()
    other.on_change(heard.put_nowait)
    await wait_for_listeners(database, 2)
    letter = draft(await database.now())

    await one.accept(letter, owner=None)

    async with asyncio.timeout(10):
        while await heard.get() != letter.id:
            pass
        while await heard.get():
            pass


async def test_a_server_whose_ear_is_cut_off_goes_on_and_hears_again(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "_LISTEN_AGAIN_SECONDS", 0.05)
    one, other = [await database.open() for _ in range(2)]
    await wait_for_listeners(database, 2)
    heard: asyncio.Queue[str] = asyncio.Queue()
    other.on_change(heard.put_nowait)

    assert await database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")

    await wait_for_listeners(database, 2)
    letter = draft(await database.now())
    await one.accept(letter, owner=None)
    async with asyncio.timeout(10):
        while await heard.get() != letter.id:
            pass


async def wait_for_listeners(database: PostgresDatabase, listeners: int) -> None:
    async def are_there() -> bool:
        return len(await database.ask(LISTENING)) == listeners

    await until(are_there)


# Restarts and cuts


@pytest.mark.parametrize("how", [Shutdown.IMMEDIATE, None])
async def test_a_restart_in_the_middle_loses_nothing_that_was_answered(
    fragile_database: PostgresDatabase, how: Shutdown | None
) -> None:
    store = await fragile_database.open()
    now = await fragile_database.now()
    answered, refused, open_ = set[str](), set[str](), set[str]()
    is_over = asyncio.Event()

    async def accept_on_and_on() -> None:
        while not is_over.is_set():
            letter = draft(now)
            try:
                await store.accept(letter, owner=None)
            except StoreError as error:
                (refused if error.is_certain else open_).add(letter.id)
                await asyncio.sleep(0.01)
            else:
                answered.add(letter.id)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(accept_on_and_on())
        await reach(answered, 100)
        await asyncio.to_thread(stop_and_start, fragile_database.server, how)
        await reach(answered, 100)
        is_over.set()

    there = {id_ for (id_,) in await fragile_database.ask("SELECT id FROM delivery")}
    assert answered <= there
    assert not refused & there
    assert there <= answered | open_


def stop_and_start(server: Postgres, how: Shutdown | None) -> None:
    if how is None:
        server.kill()
    else:
        server.stop(how)
    server.start()


async def reach(answered: set[str], more: int) -> None:
    goal = len(answered) + more

    async def is_reached() -> bool:
        return len(answered) >= goal

    await until(is_reached)


async def test_a_restart_while_nothing_is_asked_is_not_noticed(fragile_database: PostgresDatabase) -> None:
    store = await fragile_database.open()
    letters = [draft(await fragile_database.now()) for _ in range(20)]
    await asyncio.gather(*(store.accept(letter, owner=None) for letter in letters))

    await asyncio.to_thread(fragile_database.server.restart)

    assert len(await store.list(Filter(), limit=100)) == 20
    await send(store, draft(await fragile_database.now()))


async def test_a_server_that_is_away_is_certain_and_says_why_and_comes_back(fragile_database: PostgresDatabase) -> None:
    store = await Hasty.open(fragile_database.url)
    server = fragile_database.server
    await asyncio.to_thread(server.stop)

    with pytest.raises(StoreError, match="Connection refused") as raised:
        await store.accept(draft(0.0), owner=None)

    assert raised.value.is_certain
    await asyncio.to_thread(server.start)
    assert await again(store.depth)
    await store.close()


async def test_a_connection_that_breaks_under_way_leaves_it_open_what_was_done(database: PostgresDatabase) -> None:
    async with Proxy(database.server.port) as proxy:
        store = await PostgresStore.open(database.server.url(database.name, port=proxy.port))
        now = await database.now()
        await store.accept(draft(now), owner=None)
        proxy.hold()
        accepting = asyncio.create_task(store.accept(draft(now), owner=None))
        await asyncio.sleep(0.05)
        proxy.cut()

        with pytest.raises(StoreError) as raised:
            await accepting

        assert not raised.value.is_certain
        proxy.mend()
        assert await again(store.depth)
        await store.close()


async def test_a_transaction_that_breaks_before_its_commit_did_not_happen(database: PostgresDatabase) -> None:
    blocker = await psycopg.AsyncConnection.connect(database.server.url(database.name))
    async with Proxy(database.server.port) as proxy, blocker:
        store = await PostgresStore.open(database.server.url(database.name, port=proxy.port))
        await blocker.execute("LOCK TABLE delivery")
        accepting = asyncio.create_task(store.accept(draft(0.0, supersede_hash=b"one"), owner=None))
        await until(partial(database.ask, WAITING))
        proxy.cut()

        with pytest.raises(StoreError) as raised:
            await accepting

        assert raised.value.is_certain
        proxy.mend()
        await store.close()


async def test_a_silent_network_is_waited_for_but_not_for_ever(database: PostgresDatabase) -> None:
    async with Proxy(database.server.port) as proxy:
        store = await Hasty.open(f"{database.server.url(database.name, port=proxy.port)}?connect_timeout=2")
        await store.depth()
        proxy.hold()

        with pytest.raises(StoreError) as raised:
            await store.accept(draft(0.0), owner=None)

        assert not raised.value.is_certain
        proxy.mend()
        assert await again(store.depth)
        await store.close()


async def test_a_lock_that_somebody_holds_is_waited_for_but_not_for_ever(database: PostgresDatabase) -> None:
    store = await Hasty.open(database.url)
    async with await psycopg.AsyncConnection.connect(database.url) as blocker:
        await blocker.execute("LOCK TABLE delivery")

        with pytest.raises(StoreError, match="no answer within"):
            await store.accept(draft(0.0), owner=None)

        assert await database.ask(WAITING) == [], "nothing is left behind that waits on"
    assert (await store.depth()).by_state[State.QUEUED] == 0
    await store.close()


async def test_who_is_cancelled_in_the_queue_for_a_connection_stays_cancelled(database: PostgresDatabase) -> None:
    """Python 3.11's wait_for may forget it."""
    store = await database.open()
    for number in range(60):
        asking = [asyncio.create_task(forever(store)) for _ in range(15)]
        for _ in range(number):
            await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        _, deaf = await asyncio.wait(asking, timeout=20)
        assert not deaf


async def forever(store: PostgresStore) -> None:
    while True:
        await store.get("nothing")


# Poolers, loops, texts


@pytest.mark.needs_server("pgbouncer")
async def test_pgbouncer_may_give_every_transaction_another_connection(
    postgres: Postgres, postgres_name: str, pooler_port: int
) -> None:
    async with postgres_database(postgres, postgres_name, port=pooler_port) as database:
        stores = [await database.open() for _ in range(3)]
        now = await database.now()
        await asyncio.gather(*(send(stores[number % 3], draft(now)) for number in range(150)))
        await asyncio.gather(
            *(stores[number % 3].accept(draft(now, supersede_hash=b"one"), owner=None) for number in range(30))
        )
        counts = await database.ask("SELECT state, count(*) FROM delivery GROUP BY state")
        assert dict(counts) == {"SENT": 150, "QUEUED": 1, "SUPERSEDED": 29}
        assert await database.ask(LISTENING) == [], "nobody else's session is made to listen"


@pytest.mark.needs_server("pgbouncer")
async def test_a_restart_behind_pgbouncer_loses_nothing_that_was_answered(fragile_database: PostgresDatabase) -> None:
    with running_pooler(fragile_database.server) as port:
        store = await Hasty.open(fragile_database.server.url(fragile_database.name, port=port))
        await store.accept(draft(0.0), owner=None)

        await asyncio.to_thread(fragile_database.server.restart, Shutdown.IMMEDIATE)

        depth = await again(store.depth)
        assert depth.by_state[State.QUEUED] == 1
        await store.close()


def test_it_runs_on_uvloop(postgres: Postgres, postgres_name: str) -> None:
    async def scenario() -> None:
        async with postgres_database(postgres, postgres_name) as database:
            store = await database.open()
            now = await database.now()
            await asyncio.gather(*(send(store, draft(now)) for _ in range(30)))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await store.depth()
            assert (await store.depth()).by_state[State.SENDING] == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_text_with_a_character_that_postgresql_does_not_know_is_kept_without_it(
    database: PostgresDatabase,
) -> None:
    store = await database.open()
    claim = await store.accept(draft(await database.now()), owner="a")
    assert isinstance(claim, Claim)

    assert await store.finish(claim, Ending(state=State.REJECTED, attempt=Attempt(reply_text="no\0 %s :name é 邮")))

    kept = await store.get(claim.kept.id)
    assert kept is not None
    assert kept.last.reply_text == "no� %s :name é 邮"


async def test_a_dump_after_the_end_holds_nothing_of_a_message(database: PostgresDatabase) -> None:
    store = await database.open()
    sealed = Sealed(key_id="k1", wrapped_key=b"the key of it", content=b"the content of it")
    letter = draft(await database.now(), sealed=sealed)
    claim = await store.accept(letter, owner="a")
    assert isinstance(claim, Claim)
    before = await asyncio.to_thread(database.server.dump, database.name)
    await store.finish(claim, SENT)
    after = await asyncio.to_thread(database.server.dump, database.name)

    for secret in (sealed.wrapped_key, sealed.content):
        assert secret.hex() in before
        assert secret.hex() not in after
    assert letter.id in after


# Opening


async def test_a_store_of_a_newer_program_is_refused(postgres: Postgres) -> None:
    name = make_database(postgres)
    postgres.execute("CREATE TABLE schema_version (version INTEGER); INSERT INTO schema_version VALUES (999)", name)

    with pytest.raises(StoreError, match="made by a newer smtpconnector"):
        await PostgresStore.open(postgres.url(name))


@pytest.mark.parametrize(
    ("setting", "says"),
    [("synchronous_commit = off", "synchronous_commit = off"), ("client_min_messages = error", None)],
)
async def test_a_database_that_answers_before_it_has_written_is_refused(
    postgres: Postgres, setting: str, says: str | None
) -> None:
    name = postgres.new_database()
    postgres.execute(f"ALTER DATABASE {name} SET {setting}")
    if says is None:
        await (await PostgresStore.open(postgres.url(name))).close()
    else:
        with pytest.raises(StoreError, match=says):
            await PostgresStore.open(postgres.url(name))


async def test_a_database_that_cannot_hold_all_texts_is_refused(postgres: Postgres) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")

    with pytest.raises(StoreError, match="encoding is LATIN1: make one with ENCODING 'UTF8'"):
        await PostgresStore.open(postgres.url("latin"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ada:tiburon@127.0.0.1:1/mail", "Connection refused"),
        ("postgresql://ada:tibu%ron@127.0.0.1:1/mail", "percent-encoded"),
        ("postgresql://ada:tiburon@127.0.0.1:none/mail", "port"),
        ("postgresql://ada:tiburon@127.0.0.1:1/mail?colour=red", "none that PostgreSQL knows"),
    ],
)
async def test_a_url_that_leads_nowhere_is_explained_without_its_password(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as raised:
        await PostgresStore.open(url)

    assert "tibu" not in str(raised.value)


async def test_a_database_that_is_not_there_is_named(postgres: Postgres) -> None:
    with pytest.raises(StoreError, match='"nowhere" does not exist'):
        await PostgresStore.open(postgres.url("nowhere"))


async def test_a_store_on_postgresql_needs_a_key_and_tells_how_to_make_one(postgres: Postgres) -> None:
    with pytest.raises(LocationError, match="smtpconnector store-key"):
        async with open_store(postgres.url(), None):
            pass


async def test_no_value_is_quoted_by_an_error(database: PostgresDatabase) -> None:
    store = await database.open()

    with pytest.raises(StoreError) as raised:
        await store.accept(draft(0.0, id=None, caller="a secret caller"), owner=None)

    assert raised.value.is_certain
    assert "secret" not in str(raised.value)
    assert re.search(r"NotNullViolation \(23502\)", str(raised.value))


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (statements.DUE_LANES, "delivery_due"),
        (statements.CLAIM, "delivery_due"),
        (statements.TAKE_OVER, "delivery_in_hand"),
        (statements.LAPSE, "delivery_lapse"),
    ],
)
async def test_a_queue_that_was_empty_when_postgresql_looked_last_is_read_by_its_own_index(
    postgres: Postgres, database: PostgresDatabase, postgres_name: str, sql: str, index: str
) -> None:
    await database.open()
    values = {"lane": "default", "owner": "one", "count": 20, "limit": 100}
    explained = re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", DIALECT.render(sql).replace("%", "%%"))
    with psycopg.connect(postgres.url(postgres_name), autocommit=True) as connection:
        connection.execute("ANALYZE delivery")
        connection.execute("SET enable_seqscan = off")
        cursor = psycopg.ClientCursor(connection)
        plan = "\n".join(row[0] for row in cursor.execute(f"EXPLAIN {explained}".encode(), values))
    assert set(re.findall(r"using (delivery_\w+)", plan)) - {"delivery_pkey"} <= {index}, plan
    assert index in plan
