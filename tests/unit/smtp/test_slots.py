from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from smtpconnector_server.config.model import PoolLimits
from smtpconnector_server.smtp.slots import Plan, Slot, Slots, Status

LIMITS = PoolLimits(max_connections=3, max_messages=5, idle_seconds=8.0, max_age_seconds=60.0)


@dataclass(eq=False)
class FakeSession:
    messages: int = 0
    is_open: bool = True


def slots(waiting: str = "", sessions: int = 0) -> Slots[FakeSession, str]:
    made: Slots[FakeSession, str] = Slots(LIMITS)
    for number in range(sessions):
        slot: Slot[FakeSession] = Slot()
        made.all.append(slot)
        made.fill(slot, FakeSession(), float(number))
    made.waiting.extend(waiting)
    return made


def lent_to(plan: Plan[FakeSession, str]) -> list[str]:
    return [waiter for waiter, _ in plan.lend]


def test_opens_a_session_for_each_who_waits_within_the_limit() -> None:
    made = slots("abcde")
    assert len(made.plan(0.0, openings=None).open) == 3
    assert not made.plan(0.0, openings=None).open


def test_opens_no_more_than_it_is_allowed_to() -> None:
    assert len(slots("abc").plan(0.0, openings=1).open) == 1
    assert not slots("abc").plan(0.0, openings=0).open


def test_lends_warm_sessions_first_come_first_served_and_the_last_used_first() -> None:
    made = slots("ab", sessions=2)
    newest = made.all[1]
    plan = made.plan(2.0, openings=None)
    assert lent_to(plan) == ["a", "b"]
    assert plan.lend[0][1] is newest
    assert not plan.open


def test_closes_what_is_idle_too_long() -> None:
    made = slots(sessions=2)
    assert made.next_change() == 8.0
    plan = made.plan(8.5, openings=None)
    assert [why for _, why in plan.close] == ["idle"]
    assert made.next_change() == 9.0


def test_closes_what_is_old_and_what_has_sent_enough() -> None:
    made = slots(sessions=3)
    made.all[0].idle_since = made.all[1].idle_since = made.all[2].idle_since = 60.0
    assert made.all[1].session is not None
    made.all[1].session.messages = 5
    assert [why for _, why in made.plan(60.5, openings=None).close] == ["old", "enough messages"]


def test_lends_a_new_session_once_whatever_the_limits() -> None:
    made: Slots[FakeSession, str] = Slots(PoolLimits(idle_seconds=0.0, max_age_seconds=0.0, max_messages=0))
    made.waiting.append("a")
    [slot] = made.plan(0.0, openings=None).open
    made.fill(slot, FakeSession(), 1.0)
    assert lent_to(made.plan(1.0, openings=None)) == ["a"]
    made.give_back(slot, 2.0)
    assert [closed for closed, _ in made.plan(2.0, openings=None).close] == [slot]


def test_does_not_lend_what_is_closed() -> None:
    made = slots("a", sessions=1)
    assert made.all[0].session is not None
    made.all[0].session.is_open = False
    plan = made.plan(1.0, openings=None)
    assert not plan.lend
    assert len(plan.close) == len(plan.open) == 1


def test_counts_leases_so_that_a_used_session_is_known() -> None:
    made = slots("a", sessions=1)
    made.plan(0.0, openings=None)
    made.give_back(made.all[0], 1.0)
    made.waiting.append("b")
    assert made.plan(1.0, openings=None).lend[0][1].leases == 2
    made.take_from(made.all[0])
    assert (made.all[0].leases, made.all[0].status) == (1, Status.IDLE)


def test_an_opening_is_needless_when_whoever_it_was_for_has_gone() -> None:
    made = slots("abc")
    first, second, third = made.plan(0.0, openings=None).open
    assert made.leave("b") is second
    made.remove(second)
    made.fill(first, FakeSession(), 1.0)
    assert lent_to(made.plan(1.0, openings=None)) == ["a"]
    made.waiting.append("d")
    assert made.leave("d") is None
    assert made.leave("c") is third
    assert made.leave("c") is None


class RosterMachine(RuleBasedStateMachine):
    """Callers come, go and give back; servers open, fail and close; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: Slots[FakeSession, int] = Slots(LIMITS)
        self.now = 0.0
        self.callers = 0
        self.lent: dict[int, Slot[FakeSession]] = {}
        self.served: list[int] = []
        self.closed: set[int] = set()

    def act(self, openings: int | None = None) -> None:
        before = list(self.slots.waiting)
        plan = self.slots.plan(self.now, openings=openings)
        assert [waiter for waiter, _ in plan.lend] == before[: len(plan.lend)]
        for waiter, slot in plan.lend:
            assert slot.session is not None
            assert slot.session.is_open
            if slot.leases > 1:
                assert slot.session.messages < LIMITS.max_messages
                assert self.now < slot.opened_at + LIMITS.max_age_seconds
                assert self.now < slot.idle_since + LIMITS.idle_seconds
            assert slot not in self.lent.values()
            self.lent[waiter] = slot
        for slot, _ in plan.close:
            assert slot not in self.slots.all
            assert slot not in self.lent.values()
            assert id(slot) not in self.closed
            self.closed.add(id(slot))
        if openings is None:
            opening = self.slots.count(Status.OPENING)
            assert opening >= min(len(self.slots.waiting), LIMITS.max_connections - len(self.slots.all) + opening)

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
            assert needless.status is Status.OPENING
            self.slots.remove(needless)
        self.act()

    @precondition(lambda self: self.slots.count(Status.OPENING))
    @rule(data=st.data(), succeeds=st.booleans())
    def open(self, data: st.DataObject, succeeds: bool) -> None:
        slots = [slot for slot in self.slots.all if slot.status is Status.OPENING]
        slot = data.draw(st.sampled_from(slots))
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

    @precondition(lambda self: self.slots.all)
    @rule(data=st.data())
    def server_closes(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.slots.all)).session
        if session is not None:
            session.is_open = False

    @rule(seconds=st.sampled_from([0.5, 5.0, 9.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.act()

    @invariant()
    def never_more_than_allowed(self) -> None:
        assert len(self.slots.all) <= LIMITS.max_connections

    @invariant()
    def lent_is_what_callers_have(self) -> None:
        lent = [slot for slot in self.slots.all if slot.status is Status.LENT]
        assert {id(slot) for slot in lent} == {id(slot) for slot in self.lent.values()}


TestRoster = RosterMachine.TestCase
TestRoster.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
