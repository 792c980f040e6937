from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from smtpconnector_server.config.model import PoolLimits
from smtpconnector_server.smtp.slots import Slot, Slots

LIMITS = PoolLimits(max_connections=3, max_messages=5, idle_seconds=8.0, max_age_seconds=60.0)


@dataclass(eq=False)
class FakeSession:
    messages: int = 0
    is_open: bool = True


class Made:
    """Slots, and why sessions were closed."""

    def __init__(self, waiting: str = "", sessions: int = 0, limits: PoolLimits = LIMITS) -> None:
        self.closed: list[str] = []
        self.slots: Slots[FakeSession, str] = Slots(limits, lambda _session, why: self.closed.append(why))
        self.slots.waiting.extend("x" * sessions)
        self.all = self.slots.open(None)
        for number, slot in enumerate(self.all):
            self.slots.fill(slot, FakeSession(), float(number))
        self.slots.waiting.clear()
        self.slots.waiting.extend(waiting)

    def used(self) -> Self:
        """Have every session been lent once."""
        for slot in self.all:
            slot.leases = 1
        return self


def test_opens_a_session_for_each_who_waits_within_the_limit() -> None:
    slots = Made("abcde").slots
    assert len(slots.open(None)) == 3
    assert not slots.open(None)
    assert len(slots) == 3


def test_opens_no_more_than_it_is_allowed_to() -> None:
    assert len(Made("abc").slots.open(1)) == 1
    assert not Made("abc").slots.open(0)


def test_opens_none_beyond_those_that_are_being_opened_for_those_who_wait() -> None:
    slots = Made("ab").slots
    assert [slot.cause for slot in slots.open(1)] == ["a"]
    assert [slot.cause for slot in slots.open(None)] == ["b"]
    assert not slots.open(None)


def test_lends_the_session_that_was_used_last() -> None:
    made = Made(sessions=2)
    older, newer = made.all
    assert made.slots.lend(2.0) is newer
    assert made.slots.lend(2.0) is older
    assert made.slots.lend(2.0) is None
    made.slots.give_back(newer, 3.0)
    made.slots.give_back(older, 4.0)
    assert made.slots.lend(5.0) is older


def test_closes_what_is_idle_too_long() -> None:
    made = Made(sessions=2)
    assert made.slots.next_change() == 8.0
    made.slots.close_worn_out(8.5)
    assert made.closed == ["idle"]
    assert made.slots.next_change() == 9.0


def test_closes_what_is_old_and_what_has_sent_enough() -> None:
    made = Made(sessions=3)
    for slot in made.all:
        slot.idle_since = 60.0
    assert made.all[1].session is not None
    made.all[1].session.messages = 5
    made.slots.close_worn_out(60.5)
    assert made.closed == ["old", "enough messages"]


def test_closes_what_has_sent_enough_when_it_comes_back() -> None:
    made = Made(sessions=1)
    slot = made.slots.lend(1.0)
    assert slot is not None
    assert slot.session is not None
    slot.session.messages = 5
    made.slots.give_back(slot, 2.0)
    assert made.closed == ["enough messages"]
    assert not made.slots


def test_lends_a_new_session_once_whatever_the_limits() -> None:
    made = Made(sessions=1, limits=PoolLimits(idle_seconds=0.0, max_age_seconds=0.0, max_messages=0))
    slot = made.slots.lend(1.0)
    assert slot is made.all[0]
    made.slots.give_back(slot, 2.0)
    assert made.closed == ["enough messages"]


def test_does_not_lend_what_is_closed_or_worn_out() -> None:
    made = Made(sessions=3).used()
    assert made.all[2].session is not None
    made.all[2].session.is_open = False
    assert made.slots.lend(9.5) is None
    assert made.closed == ["closed by the server", "idle", "idle"]


def test_counts_leases_so_that_a_used_session_is_known() -> None:
    slots = Made(sessions=1).slots
    slot = slots.lend(0.0)
    assert slot is not None
    slots.give_back(slot, 1.0)
    assert slots.lend(1.0) is slot
    assert slot.leases == 2
    slots.take_from(slot)
    assert slot.leases == 1
    assert slot in slots.idle


def test_a_new_session_goes_to_whom_it_was_opened_for() -> None:
    slots = Made("abc").slots
    _, second, _ = slots.open(None)
    slots.fill(second, FakeSession(), 1.0)
    assert list(slots.waiting) == ["b", "a", "c"]


def test_an_opening_is_needless_when_whoever_it_was_for_has_gone() -> None:
    slots = Made("abc").slots
    first, second, third = slots.open(None)
    assert slots.leave("b") is second
    slots.remove(second)
    slots.fill(first, FakeSession(), 1.0)
    slots.waiting.popleft()
    slots.waiting.append("d")
    assert slots.leave("d") is None
    assert slots.leave("c") is third
    assert slots.leave("c") is None


class SlotsMachine(RuleBasedStateMachine):
    """Callers come, go and give back; servers open, fail and close; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: Slots[FakeSession, int] = Slots(LIMITS, self.close)
        self.now = 0.0
        self.callers = 0
        self.lent: dict[int, Slot[FakeSession]] = {}
        self.closed: list[FakeSession] = []

    def close(self, session: FakeSession, why: str) -> None:
        assert why
        assert session not in [slot.session for slot in self.slots]
        assert session not in [slot.session for slot in self.lent.values()]
        assert session not in self.closed
        self.closed.append(session)

    def act(self, openings: int | None = None) -> None:
        while self.slots.waiting and (slot := self.slots.lend(self.now)) is not None:
            assert slot.session is not None
            assert slot.session.is_open
            if slot.leases > 1:
                assert slot.session.messages < LIMITS.max_messages
                assert self.now < slot.opened_at + LIMITS.max_age_seconds
                assert self.now < slot.idle_since + LIMITS.idle_seconds
            assert slot not in self.lent.values()
            self.lent[self.slots.waiting.popleft()] = slot
        self.slots.open(openings)
        if openings is None:
            missing = len(self.slots.waiting) - len(self.slots.opening)
            assert missing <= 0 or len(self.slots) == LIMITS.max_connections

    @rule()
    def come(self) -> None:
        self.callers += 1
        self.slots.waiting.append(self.callers)
        self.act()

    @precondition(lambda self: self.slots.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        needless = self.slots.leave(data.draw(st.sampled_from(list(self.slots.waiting))))
        if needless is not None:
            assert needless in self.slots.opening
            self.slots.remove(needless)
        self.act()

    @precondition(lambda self: self.slots.opening)
    @rule(data=st.data(), succeeds=st.booleans())
    def open(self, data: st.DataObject, succeeds: bool) -> None:
        slot = data.draw(st.sampled_from(list(self.slots.opening)))
        if succeeds:
            self.slots.fill(slot, FakeSession(), self.now)
        else:
            self.slots.remove(slot)
        self.act(openings=data.draw(st.sampled_from([None, 0, 1])))

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), in_step=st.booleans())
    def give_back(self, data: st.DataObject, in_step: bool) -> None:
        caller = data.draw(st.sampled_from(list(self.lent)))
        slot = self.lent.pop(caller)
        assert slot.session is not None
        slot.session.messages += 1
        if in_step:
            self.slots.give_back(slot, self.now)
        else:
            self.slots.remove(slot)
        self.act()

    @precondition(lambda self: len(self.slots))
    @rule(data=st.data())
    def server_closes(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(list(self.slots))).session
        if session is not None:
            session.is_open = False

    @rule(seconds=st.sampled_from([0.5, 5.0, 9.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.slots.close_worn_out(self.now)
        self.act()

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert len(self.slots) <= LIMITS.max_connections

    @invariant()
    def lent_is_what_callers_have(self) -> None:
        assert {id(slot) for slot in self.slots.lent} == {id(slot) for slot in self.lent.values()}


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
