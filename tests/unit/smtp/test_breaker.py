from __future__ import annotations

import pytest

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.breaker import FIRST_PAUSE, MAX_PAUSE, THRESHOLD, Breaker
from smtpconnector_server.smtp.reply import Reply


def failure(reason: Reason = Reason.SMTP_CONNECT_FAILED, retry_after: float | None = None) -> Failure:
    return Failure(reason, "no", stage=Stage.CONNECT, host="h", reply=Reply(421), retry_after=retry_after)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(THRESHOLD):
        breaker.fail(failure(), now)
    return breaker


def test_lets_everything_pass_while_the_server_works() -> None:
    breaker = Breaker()
    assert breaker.is_closed
    assert breaker.openings(0.0, 3) is None
    assert breaker.refusal(0.0) is None
    assert breaker.pause_ends is None


def test_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(THRESHOLD - 1):
        assert breaker.fail(failure(), 0.0) == 0.0
    breaker.succeed()
    for _ in range(THRESHOLD - 1):
        assert breaker.fail(failure(), 0.0) == 0.0
    assert breaker.fail(failure(), 0.0) == FIRST_PAUSE
    assert breaker.openings(FIRST_PAUSE - 0.1, 0) == 0


def test_repeats_the_last_failure_with_the_time_that_is_left() -> None:
    breaker = opened(100.0)
    repeated = breaker.refusal(101.0)
    assert repeated is not None
    assert (repeated.reason, repeated.stage, repeated.host) == (Reason.SMTP_CONNECT_FAILED, Stage.CONNECT, "h")
    assert repeated.outcome is Outcome.NOT_SENT
    assert repeated.retry_after == FIRST_PAUSE - 1
    assert breaker.refusal(101.0) is not repeated


def test_opens_one_at_a_time_until_the_credentials_are_proven() -> None:
    breaker = Breaker(is_proven=False)
    assert breaker.openings(0.0, 0) == 1
    assert breaker.openings(0.0, 1) == 0
    breaker.succeed()
    assert breaker.openings(0.0, 1) is None


def test_opens_one_at_a_time_after_a_failure() -> None:
    breaker = Breaker()
    breaker.fail(failure(), 0.0)
    assert breaker.openings(0.0, 0) == 1
    assert breaker.openings(0.0, 1) == 0
    assert breaker.refusal(0.0) is None


def test_allows_one_trial_after_the_pause() -> None:
    breaker = opened()
    assert breaker.openings(FIRST_PAUSE, 0) == 1
    assert breaker.openings(FIRST_PAUSE, 1) == 0
    assert breaker.refusal(FIRST_PAUSE) is None


def test_doubles_the_pause_each_time_the_trial_fails_up_to_a_bound() -> None:
    breaker, now, pauses = opened(), 0.0, [FIRST_PAUSE]
    for _ in range(6):
        now += pauses[-1]
        pauses.append(breaker.fail(failure(), now))
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0]
    assert pauses[-1] == MAX_PAUSE


def test_closes_when_the_trial_succeeds() -> None:
    breaker = opened()
    breaker.succeed()
    assert breaker.is_closed
    assert breaker.openings(0.0, 0) is None
    assert breaker.fail(failure(), 0.0) == 0.0


def test_failures_that_were_under_way_do_not_prolong_the_pause() -> None:
    breaker = opened()
    assert breaker.fail(failure(), 1.0) == 0.0
    assert breaker.pause_ends == FIRST_PAUSE


@pytest.mark.parametrize("reason", [Reason.SMTP_AUTH_FAILED, Reason.SMTP_RATE_LIMITED])
def test_what_counts_against_the_account_is_not_tried_twice(reason: Reason) -> None:
    assert Breaker().fail(failure(reason), 0.0) == FIRST_PAUSE


def test_pauses_as_long_as_the_server_asked() -> None:
    assert Breaker().fail(failure(Reason.SMTP_RATE_LIMITED, retry_after=30.0), 0.0) == 30.0
    assert Breaker().fail(failure(Reason.SMTP_RATE_LIMITED, retry_after=9000.0), 0.0) == MAX_PAUSE


@pytest.mark.parametrize("reason", [Reason.EGRESS_DENIED, Reason.OAUTH2_ENDPOINT_UNAVAILABLE, Reason.NOT_IMPLEMENTED])
def test_what_is_not_the_servers_fault_does_not_count(reason: Reason) -> None:
    breaker = Breaker()
    for _ in range(10):
        assert breaker.fail(failure(reason), 0.0) == 0.0
    assert breaker.is_closed


def test_keeps_a_pause_that_it_hears_of_and_allows_one_trial_after_it() -> None:
    breaker = Breaker()
    assert breaker.hear(failure(Reason.SMTP_AUTH_FAILED), 7.0, 100.0) == 7.0
    assert breaker.openings(106.0, 0) == 0
    refusal = breaker.refusal(106.0)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after) == (Reason.SMTP_AUTH_FAILED, 1.0)
    assert breaker.own_pause is None
    assert (breaker.openings(107.0, 0), breaker.openings(107.0, 1)) == (1, 0)
    assert breaker.fail(failure(), 107.0) > FIRST_PAUSE
    assert breaker.own_pause is not None


def test_hears_the_same_pause_once() -> None:
    breaker = Breaker()
    assert breaker.hear(failure(), 7.0, 100.0) == 7.0
    assert breaker.hear(failure(), 6.1, 101.0) == 0.0
    assert breaker.pause_ends == 107.0


def test_a_longer_pause_of_its_own_stays() -> None:
    breaker = Breaker()
    breaker.fail(failure(Reason.SMTP_RATE_LIMITED, retry_after=30.0), 100.0)
    assert breaker.hear(failure(), 7.0, 100.0) == 0.0
    assert breaker.own_pause is not None
    assert breaker.own_pause.ends_at == 130.0


def test_pauses_of_others_keep_it_from_a_trial_of_its_own_no_longer_than_its_own_longest() -> None:
    breaker, now = Breaker(), 0.0
    paused = 0.0
    while now < 10 * MAX_PAUSE:  # another machine fails for ever
        breaker.hear(failure(), 62.0, now)
        paused += breaker.openings(now, 0) == 0
        now += 1.0
    assert 4 * MAX_PAUSE < paused < 6 * MAX_PAUSE


def test_may_try_at_once_when_it_works_elsewhere() -> None:
    for breaker in (opened(100.0), Breaker()):
        breaker.hear(failure(), 40.0, 100.0)
        breaker.relieve(101.0)
        assert breaker.openings(101.0, 0) == 1
        assert breaker.openings(101.0, 1) == 0
        assert not breaker.is_closed


def test_is_not_sent_into_failure_again_and_again_because_it_works_elsewhere() -> None:
    breaker = opened(100.0)
    breaker.relieve(101.0)
    assert breaker.fail(failure(), 101.0) == 2 * FIRST_PAUSE
    breaker.relieve(102.0)
    assert breaker.openings(102.0, 0) == 0
    breaker.succeed()
    breaker.hear(failure(), 40.0, 200.0)
    breaker.relieve(201.0)
    assert breaker.openings(201.0, 0) == 1


def test_has_nothing_to_be_relieved_of_while_it_works() -> None:
    breaker = Breaker()
    breaker.relieve(1.0)
    assert breaker.openings(1.0, 3) is None
