"""The store against a model of it in a few lines, by whatever sequence of calls Hypothesis thinks of."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from harness.drafts import draft
from smtpconnector_server.store import statements
from smtpconnector_server.store.operations import Done, Query
from smtpconnector_server.store.record import Attempt, Claim, Ending, Kept, Swept
from smtpconnector_server.store.rows import to_kept
from smtpconnector_server.store.sqlite import SqliteStore
from smtpconnector_server.store.state import MOVES, Mode, State, UncertainPolicy
from smtpconnector_server.store.store import FenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smtpconnector_server.store.operations import Operation
    from smtpconnector_server.store.rows import Row

COMPARED = (
    *("state", "attempt", "is_committed", "may_have_arrived"),
    *("resends_left", "deferrals", "is_held", "updated_at", "expires_at"),
)
LEASE = 20.0
RETENTION = 200.0


@dataclass
class Modelled:
    """What the model knows of a message."""

    state: State
    owner: str | None
    attempt: int
    resends_left: int
    expires_at: float
    lapses_to: State
    due_at: float
    updated_at: float
    created_at: float
    request_hash: bytes | None
    supersede_hash: bytes | None
    is_committed: bool = False
    may_have_arrived: bool = False
    has_content: bool = True
    deferrals: int = 0
    changes: int = 1

    def move(self, state: State, now: float) -> None:
        assert (self.state, state) in MOVES, (self.state, state)
        self.state = state
        self.updated_at = now
        self.changes += 1
        if state is not State.SENDING:
            self.owner = None
        if state is State.QUEUED:
            self.is_committed = False
        if state.is_final and state is not State.UNKNOWN:
            self.has_content = False

    def end_unsent(self, state: State, now: float) -> None:
        self.move(State.UNKNOWN if self.may_have_arrived else state, now)
        self.has_content = False

    @property
    def is_held(self) -> bool:
        return self.state is State.UNKNOWN and self.has_content

    @property
    def has_not_left(self) -> bool:
        return self.state in {State.QUEUED, State.SENDING} and not self.is_committed


class StoreMachine(RuleBasedStateMachine):
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_800_000_000.0
        self.messages: dict[str, Modelled] = {}
        self.leases: dict[str, float] = {}
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.store: SqliteStore

    @initialize()
    def open(self) -> None:
        self.store = self.run(SqliteStore.open(Path(self.folder.name) / "store.db", clock=lambda: self.now))

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    @rule(
        target=claims,
        owner=st.sampled_from([None, "a", "b"]),
        request_hash=st.sampled_from([None, None, b"r1", b"r2"]),
        supersede_hash=st.sampled_from([None, b"s"]),
        policy=st.sampled_from(UncertainPolicy),
        lapses_to=st.sampled_from([State.EXPIRED, State.NOT_SENT]),
        seconds=st.sampled_from([5.0, 50.0, 500.0]),
    )
    def accept(self, owner: str | None, lapses_to: State, seconds: float, **changes: Any) -> Any:
        message = draft(self.now, mode=Mode.WAIT, lapses_to=lapses_to, expires_at=self.now + seconds, **changes)
        known = [
            key
            for key, modelled in self.messages.items()
            if message.request_hash is not None and modelled.request_hash == message.request_hash
        ]

        accepted = self.run(self.store.accept(message, owner=owner))

        if known:
            assert isinstance(accepted, Kept)
            assert [accepted.id] == known
            if accepted.state is not State.NOT_SENT:
                return multiple()
            return self.reopen(message, accepted, owner or "a")
        self.supersede(message.supersede_hash)
        self.messages[message.id] = Modelled(
            state=State.SENDING if owner else State.QUEUED,
            owner=owner,
            attempt=1 if owner else 0,
            resends_left=int(message.policy is UncertainPolicy.RESEND),
            expires_at=message.expires_at,
            lapses_to=lapses_to,
            due_at=self.now,
            updated_at=self.now,
            created_at=self.now,
            request_hash=message.request_hash,
            supersede_hash=message.supersede_hash,
        )
        return accepted if owner else multiple()

    def reopen(self, message: Any, kept: Kept, owner: str) -> Any:
        message = replace(message, id=kept.id, message_id=kept.message_id)
        claim: Claim | None = self.run(self.store.reopen(message, kept, owner=owner))
        assert self.run(self.store.reopen(message, kept, owner=owner)) is None
        modelled = self.messages[kept.id]
        if message.supersede_hash is not None and any(
            newer.supersede_hash == message.supersede_hash and newer.created_at > modelled.created_at
            for newer in self.messages.values()
        ):
            assert claim is None
            modelled.end_unsent(State.SUPERSEDED, self.now)
            return multiple()
        assert claim is not None
        self.supersede(message.supersede_hash)
        modelled.move(State.SENDING, self.now)
        modelled.owner = owner
        modelled.attempt += 1
        modelled.is_committed = False
        modelled.has_content = True
        modelled.deferrals = 0
        modelled.resends_left = int(message.policy is UncertainPolicy.RESEND)
        modelled.expires_at, modelled.lapses_to = message.expires_at, message.lapses_to
        modelled.supersede_hash = message.supersede_hash
        return claim

    def supersede(self, supersede_hash: bytes | None) -> None:
        for modelled in self.messages.values():
            if supersede_hash is not None and modelled.supersede_hash == supersede_hash and modelled.has_not_left:
                modelled.end_unsent(State.SUPERSEDED, self.now)

    @rule(target=claims, owner=st.sampled_from(["a", "b"]), count=st.integers(1, 3))
    def claim(self, owner: str, count: int) -> Any:
        claims = self.run(self.store.claim(owner, "default", count=count))
        due = [
            (modelled.due_at, key)
            for key, modelled in self.messages.items()
            if modelled.state is State.QUEUED and modelled.due_at <= self.now < modelled.expires_at
        ]
        assert [claim.kept.due_at for claim in claims] == [at for at, _ in sorted(due)[:count]]
        for claim in claims:
            modelled = self.messages[claim.kept.id]
            modelled.move(State.SENDING, self.now)
            modelled.owner = owner
            modelled.attempt += 1
            assert claim.sealed.content
        return multiple(*claims)

    @rule(claim=claims)
    def commit(self, claim: Claim) -> None:
        modelled = self.messages.get(claim.kept.id)
        is_ours = (
            modelled is not None
            and modelled.state is State.SENDING
            and modelled.attempt == claim.kept.attempt
            and modelled.expires_at > self.now
        )
        has_committed = False
        with suppress(FenceError):
            self.run(self.store.commit(claim))
            has_committed = True
        assert has_committed is is_ours
        if modelled is not None and is_ours:
            modelled.is_committed = True

    @rule(
        claim=st.one_of(claims, consumes(claims)),
        state=st.sampled_from(
            [State.SENT, State.REJECTED, State.NOT_SENT, State.UNKNOWN, State.EXPIRED, State.QUEUED, State.QUEUED]
        ),
        is_resend=st.booleans(),
        counts=st.booleans(),
        delay=st.sampled_from([0.0, 3.0]),
    )
    def finish(self, claim: Claim, state: State, is_resend: bool, counts: bool, delay: float) -> None:
        modelled = self.messages.get(claim.kept.id)
        is_resend = is_resend and state is State.QUEUED
        end = state
        if modelled is not None:
            if modelled.may_have_arrived and state in {State.REJECTED, State.NOT_SENT, State.EXPIRED}:
                end = State.UNKNOWN
            if is_resend and not modelled.resends_left:
                end = State.UNKNOWN
        is_ours = (
            modelled is not None
            and modelled.attempt == claim.kept.attempt
            and (
                modelled.state is State.SENDING
                or (
                    modelled.state is State.UNKNOWN
                    and modelled.is_committed
                    and (end in {State.SENT, State.REJECTED} or (end is State.QUEUED and modelled.has_content))
                )
            )
        )
        ending = Ending(state=state, attempt=Attempt(), is_resend=is_resend, counts=counts, delay=delay)
        assert self.run(self.store.finish(claim, ending)) is is_ours
        if modelled is not None and is_ours:
            modelled.move(end, self.now)
            if end is State.QUEUED:
                modelled.due_at = self.now + delay
                modelled.may_have_arrived |= is_resend
                modelled.resends_left -= is_resend
            if state is State.QUEUED:
                modelled.deferrals += counts

    @rule(data=st.data(), decision=st.sampled_from(["cancel", "send_again", "drop"]))
    def decide(self, data: st.DataObject, decision: str) -> None:
        if not self.messages:
            return
        key = data.draw(st.sampled_from(sorted(self.messages)))
        modelled = self.messages[key]
        self.run(getattr(self.store, decision)(key))
        if decision == "cancel" and modelled.has_not_left:
            modelled.end_unsent(State.CANCELLED, self.now)
        elif decision == "drop" and modelled.is_held:
            modelled.has_content = False
        elif decision == "send_again" and modelled.is_held and modelled.expires_at > self.now:
            modelled.move(State.QUEUED, self.now)
            modelled.may_have_arrived = True
            modelled.due_at = self.now
            modelled.deferrals = 0

    @rule(owner=st.sampled_from(["a", "b"]), is_alive=st.booleans())
    def beat_or_leave(self, owner: str, is_alive: bool) -> None:
        if is_alive:
            self.run(self.store.beat(owner, lease=LEASE))
            self.leases[owner] = self.now + LEASE
        else:
            self.run(self.store.leave(owner))
            self.leases.pop(owner, None)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def advance(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sweep(self) -> None:
        counted = dict.fromkeys(("requeued", "resent", "uncertain", "lapsed", "purged"), 0)
        for key, modelled in list(self.messages.items()):
            if modelled.state is State.SENDING and self.leases.get(modelled.owner or "", 0.0) <= self.now:
                if not modelled.is_committed:
                    modelled.move(State.QUEUED, self.now)
                    modelled.due_at = self.now
                    counted["requeued"] += 1
                elif modelled.resends_left:
                    modelled.move(State.QUEUED, self.now)
                    modelled.due_at = self.now
                    modelled.resends_left -= 1
                    modelled.may_have_arrived = True
                    counted["resent"] += 1
                else:
                    modelled.move(State.UNKNOWN, self.now)
                    counted["uncertain"] += 1
            if modelled.state is State.QUEUED and modelled.expires_at <= self.now:
                modelled.end_unsent(modelled.lapses_to, self.now)
                counted["lapsed"] += 1
            if modelled.is_held and modelled.expires_at <= self.now:
                modelled.has_content = False
            if not modelled.has_content and modelled.updated_at <= self.now - RETENTION:
                del self.messages[key]
                counted["purged"] += 1
        assert self.run(self.store.sweep(retention=RETENTION, limit=1000)) == Swept(**counted)

    @invariant()
    def both_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = self.run(self.store._read(_everything))
        assert {row[0] for row in rows} == set(self.messages)
        for row in rows:
            kept, modelled = to_kept(row), self.messages[row[0]]
            for name in COMPARED:
                assert getattr(kept, name) == getattr(modelled, name), name
            states = [change.state for change in kept.history]
            assert set(zip([None, *states], states, strict=False)) <= MOVES
            assert (states[-1], len(states)) == (modelled.state, modelled.changes)
            assert {part is not None for part in row[-3:]} == {modelled.has_content}


def _everything() -> Operation[Sequence[Row]]:
    rows = yield Query(f"SELECT {statements._CLAIMED} FROM delivery", {})  # noqa: S608 - a constant
    return Done(rows)


StoreMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_the_store_does_what_its_model_does = StoreMachine.TestCase
