"""What each method of the store does, as a conversation with a database that both engines hold.

An operation yields queries, is sent the rows of each, and returns what it has found out. It knows no driver and does no
I/O, so that there is one law for SQLite and PostgreSQL. An operation may be started anew after it was undone, and never
goes on after an error of its engine.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from smtpconnector_server.store import statements
from smtpconnector_server.store.gcra import count_one
from smtpconnector_server.store.record import Claim, Depth, Swept
from smtpconnector_server.store.rows import (
    Row,
    Value,
    micros,
    newest_change,
    of_draft,
    of_ending,
    of_filter,
    seconds,
    to_claim,
    to_kept,
)
from smtpconnector_server.store.state import State
from smtpconnector_server.store.store import FenceError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.store.record import Draft, Ending, Filter, Kept

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement and its parameters."""

    sql: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Done(Generic[T_co]):
    """What an operation has come to."""

    result: T_co
    changed: tuple[str, ...] = ()
    """The ids of messages whose state changed; an empty one if something was queued."""


Operation: TypeAlias = Generator[Query, Sequence[Row], Done[T]]

QUEUED = ("",)
"""Something was queued."""
_TRIES = 10


def accept(draft: Draft, *, owner: str | None) -> Operation[Claim | Kept | None]:
    """Insert a message, or find the one of the same request; see :meth:`Store.accept`."""
    for _ in range(_TRIES):
        inserted = yield Query(statements.INSERT, of_draft(draft, owner=owner))
        if inserted:
            changed = (draft.id, *(yield from _supersede(draft)))
            if owner is None:
                return Done(None, changed + QUEUED)
            return Done(Claim(to_kept(inserted[0]), draft.sealed), changed)
        found = yield Query(statements.FIND, {"request_hash": draft.request_hash})
        if found:
            return Done(to_kept(found[0]))
    raise StoreError("a message was there and gone again, over and over", is_certain=True)  # purged in between


def reopen(draft: Draft, kept: Kept, *, owner: str) -> Operation[Claim | None]:
    """Take a NOT_SENT message up again; see :meth:`Store.reopen`."""
    values: dict[str, Value] = {**of_draft(draft, owner=owner), "id": kept.id, "attempt": kept.attempt}
    if draft.supersede_hash is not None:
        names = ("id", "attempt", "supersede_hash")
        if (yield Query(statements.OVERTAKEN, {name: values[name] for name in names})):
            return Done(None, (kept.id,))
    reopened = yield Query(statements.REOPEN, values)
    if not reopened:
        return Done(None)
    changed = yield from _supersede(draft, kept.id)
    return Done(Claim(to_kept(reopened[0]), draft.sealed), (kept.id, *changed))


def _supersede(draft: Draft, delivery_id: str | None = None) -> Generator[Query, Sequence[Row], tuple[str, ...]]:
    if draft.supersede_hash is None:
        return ()
    values: dict[str, Value] = {"supersede_hash": draft.supersede_hash, "id": delivery_id or draft.id}
    return tuple(row[0] for row in (yield Query(statements.SUPERSEDE, values)))


def due_lanes(*, limit: int) -> Operation[list[str]]:
    """See :meth:`Store.due_lanes`."""
    rows = yield Query(statements.DUE_LANES, {"limit": limit})
    return Done([row[0] for row in rows])


def claim(owner: str, lane: str, *, count: int) -> Operation[list[Claim]]:
    """See :meth:`Store.claim`."""
    rows = yield Query(statements.CLAIM, {"owner": owner, "lane": lane, "count": count})
    claims = sorted(map(to_claim, rows), key=lambda claim: claim.kept.due_at)  # RETURNING has no order
    return Done(claims, tuple(claim.kept.id for claim in claims))


def commit(claim: Claim) -> Operation[float]:
    """See :meth:`Store.commit`."""
    committed = yield Query(statements.COMMIT, {"id": claim.kept.id, "attempt": claim.kept.attempt})
    if not committed:
        raise FenceError((yield from get(claim.kept.id)).result)
    return Done(seconds(committed[0][0]))


def finish(claim: Claim, ending: Ending) -> Operation[bool]:
    """See :meth:`Store.finish`."""
    finished = yield Query(statements.FINISH, of_ending(claim, ending))
    if not finished:
        return Done(False)  # noqa: FBT003 - the result
    return Done(True, (claim.kept.id,) + QUEUED * (finished[0][0] == State.QUEUED))  # noqa: FBT003 - the result


def get(delivery_id: str) -> Operation[Kept | None]:
    """See :meth:`Store.get`."""
    rows = yield Query(statements.GET, {"id": delivery_id})
    return Done(to_kept(rows[0]) if rows else None)


def find(request_hash: bytes) -> Operation[Kept | None]:
    """See :meth:`Store.find`."""
    rows = yield Query(statements.FIND, {"request_hash": request_hash})
    return Done(to_kept(rows[0]) if rows else None)


def list_(which: Filter, *, limit: int) -> Operation[list[Kept]]:
    """See :meth:`Store.list`."""
    rows = yield Query(statements.list_of(which), of_filter(which, limit=limit))
    return Done([to_kept(row) for row in rows])


def cancel(delivery_id: str) -> Operation[Kept | None]:
    """See :meth:`Store.cancel`."""
    return (yield from _decide(statements.CANCEL, delivery_id, (delivery_id,)))


def send_again(delivery_id: str) -> Operation[Kept | None]:
    """See :meth:`Store.send_again`."""
    return (yield from _decide(statements.SEND_AGAIN, delivery_id, (delivery_id, *QUEUED)))


def drop(delivery_id: str) -> Operation[Kept | None]:
    """See :meth:`Store.drop`."""
    return (yield from _decide(statements.DROP, delivery_id, ()))


def _decide(sql: str, delivery_id: str, changed: tuple[str, ...]) -> Operation[Kept | None]:
    rows = yield Query(sql, {"id": delivery_id})
    if rows:
        return Done(to_kept(rows[0]), changed)
    return (yield from get(delivery_id))


def beat(owner: str, *, lease: float) -> Operation[None]:
    """See :meth:`Store.beat`."""
    yield Query(statements.BEAT, {"owner": owner, "lease": micros(lease)})
    return Done(None)


def leave(owner: str) -> Operation[None]:
    """See :meth:`Store.leave`."""
    yield Query(statements.LEAVE, {"owner": owner})
    return Done(None)


def sweep(*, retention: float, limit: int) -> Operation[Swept]:
    """See :meth:`Store.sweep`. Each query is complete by itself: the operation need not be one transaction."""
    at_most: dict[str, Value] = {"limit": limit}
    yield Query(statements.CLIP_LEASES, {})
    yield Query(statements.RETIME, at_most)
    taken = yield Query(statements.TAKE_OVER, at_most)
    lapsed = yield Query(statements.LAPSE, at_most)
    yield Query(statements.LET_GO, at_most)
    purged = yield Query(statements.PURGE, at_most | {"retention": micros(retention)})
    yield Query(statements.FORGET_SERVERS, {})
    yield Query(statements.FORGET_MARKS, at_most)
    yield Query(statements.FORGET_PAUSES, {})
    changed = tuple(row[0] for row in (*taken, *lapsed))
    uncertain = sum(state == State.UNKNOWN for _, state, _ in taken)
    requeued = sum(not newest_change(history).reason for _, _, history in taken)
    swept = Swept(
        requeued=requeued,
        resent=len(taken) - uncertain - requeued,
        uncertain=uncertain,
        lapsed=len(lapsed),
        purged=len(purged),
    )
    return Done(swept, changed + QUEUED * (len(taken) > uncertain))


def depth() -> Operation[Depth]:
    """See :meth:`Store.depth`."""
    ((queued, sending, held, oldest),) = yield Query(statements.DEPTH, {})
    by_state = {State.QUEUED: queued, State.SENDING: sending, State.UNKNOWN: held}
    return Done(Depth(by_state=by_state, oldest_due_seconds=seconds(oldest or 0)))


def take(key: bytes, windows: Sequence[tuple[int, float]]) -> Operation[float]:
    """See :meth:`Store.take`. Reads, and writes only if nobody else has in between, so that refusing writes nothing."""
    for _ in range(_TRIES if windows else 0):
        ((now, before),) = yield Query(statements.MARKS, {"key": key})
        marks = [seconds(int(mark)) for mark in before.split(",")] if before else []
        wait, marks = count_one(marks if len(marks) == len(windows) else [], windows, seconds(now))
        if wait > 0:
            return Done(wait)
        after = [micros(mark) for mark in marks]
        values: dict[str, Value] = {"key": key, "marks": ",".join(map(str, after)), "before": before or ""}
        if (yield Query(statements.SET_MARKS, values | {"empty_at": max(after)})):
            return Done(0.0)
    if windows:
        raise StoreError("too many servers count for one key at once", is_certain=True)
    return Done(0.0)


def report_server(key: bytes, *, paused_for: float, reason: str) -> Operation[None]:
    """See :meth:`Store.report_server`."""
    if paused_for > 0:
        yield Query(statements.PAUSE, {"key": key, "pause": micros(paused_for), "reason": reason})
    else:
        yield Query(statements.GO_ON, {"key": key})
    return Done(None)


def paused_servers() -> Operation[dict[bytes, tuple[float, str]]]:
    """See :meth:`Store.paused_servers`."""
    rows = yield Query(statements.PAUSES, {})
    return Done({bytes(key): (seconds(left), reason) for key, left, reason in rows})


def keep(name: str, value: bytes, *, instead_of: bytes | None) -> Operation[bytes]:
    """See :meth:`Store.keep`."""
    yield Query(statements.KEEP, {"name": name, "value": value, "instead_of": instead_of})
    ((kept,),) = yield Query(statements.CONSTANT, {"name": name})
    return Done(kept)
