from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpconnector_server.config.model import AccessToken, OAuth2Auth, Server, TlsMode
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Stage
from smtpconnector_server.smtp.course import Course, Depth, ProbeStep, StepStatus, plan

SERVER = Server(host="smtp.example.com", port=587, tls_mode=TlsMode.STARTTLS_OFFERED)
OAUTH2 = OAuth2Auth(user="ada@example.com", source=AccessToken(token=Secret("t")))


def names(stages: tuple[Stage, ...]) -> str:
    return " ".join(stages)


@pytest.mark.parametrize(
    ("mode", "stages"),
    [
        (TlsMode.IMPLICIT, "RESOLVE CONNECT TLS GREETING EHLO AUTH MAIL RCPT"),
        (TlsMode.STARTTLS_REQUIRED, "RESOLVE CONNECT GREETING EHLO STARTTLS TLS EHLO AUTH MAIL RCPT"),
        (TlsMode.STARTTLS_OFFERED, "RESOLVE CONNECT GREETING EHLO STARTTLS TLS EHLO AUTH MAIL RCPT"),
        (TlsMode.DISABLED, "RESOLVE CONNECT GREETING EHLO AUTH MAIL RCPT"),
    ],
)
def test_the_plan_follows_the_tls_mode(mode: TlsMode, stages: str) -> None:
    assert names(plan(replace(SERVER, tls_mode=mode), Depth.ENVELOPE)) == stages


@pytest.mark.parametrize(
    ("depth", "stages"),
    [
        (Depth.SCHEMA, ""),
        (Depth.RESOLVE, "RESOLVE"),
        (Depth.CONNECT, "RESOLVE CONNECT GREETING EHLO STARTTLS TLS EHLO"),
        (Depth.AUTHENTICATE, "RESOLVE CONNECT GREETING EHLO STARTTLS TLS EHLO AUTH"),
    ],
)
def test_each_depth_includes_those_before_it(depth: Depth, stages: str) -> None:
    assert names(plan(SERVER, depth)) == stages


def test_a_token_comes_first_where_one_is_needed() -> None:
    server = replace(SERVER, auth=OAUTH2)
    assert plan(server, Depth.AUTHENTICATE)[0] is Stage.TOKEN
    assert Stage.TOKEN not in plan(server, Depth.CONNECT)


def test_steps_are_told_with_what_they_took() -> None:
    told: list[ProbeStep] = []
    clock = itertools.count(step=2.0)
    course = Course((Stage.RESOLVE, Stage.CONNECT), on_step=told.append, clock=lambda: next(clock))
    course.pass_(Stage.RESOLVE, "192.0.2.1")
    assert told == [ProbeStep(Stage.RESOLVE, StepStatus.PASSED, 2.0, "192.0.2.1")]
    assert course.under_way is Stage.CONNECT


def test_what_the_server_does_not_offer_is_skipped_and_not_failed() -> None:
    course = Course(plan(SERVER, Depth.ENVELOPE))
    for stage in (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.MAIL, Stage.RCPT):
        course.pass_(stage, "")
    assert course.under_way is None
    skipped = [(step.name, step.detail) for step in course.steps if step.status is StepStatus.SKIPPED]
    absent = "the server does not offer STARTTLS"
    assert skipped == [
        ("STARTTLS", absent),
        ("TLS", absent),
        ("EHLO", absent),
        ("AUTH", "no credentials are configured"),
    ]


def test_after_a_failure_nothing_is_tried() -> None:
    course = Course(plan(SERVER, Depth.AUTHENTICATE))
    course.pass_(Stage.RESOLVE, "")
    course.fail(Stage.CONNECT, "refused", seconds=0.5)
    assert [step.status for step in course.steps] == [
        StepStatus.PASSED,
        StepStatus.FAILED,
        *[StepStatus.SKIPPED] * 6,
    ]


def test_a_failure_at_a_stage_that_was_not_planned_is_told_too() -> None:
    course = Course(plan(SERVER, Depth.CONNECT))
    course.fail(Stage.CONFIG, "no such cipher", seconds=0.0)
    assert (course.steps[0].name, course.steps[0].status) == ("SCHEMA", StepStatus.FAILED)


def test_another_token_begins_all_over_again() -> None:
    stages = plan(replace(SERVER, tls_mode=TlsMode.DISABLED, auth=OAUTH2), Depth.AUTHENTICATE)
    course = Course(stages)
    for stage in (*stages[:-1], *stages):
        course.pass_(stage, "")
    assert [step.stage for step in course.steps] == [*stages[:-1], *stages]


@given(st.integers(0, 10), st.sampled_from(list(Stage)))
def test_every_planned_step_ends_exactly_once(passed: int, failed: Stage) -> None:
    stages = plan(SERVER, Depth.ENVELOPE)
    course = Course(stages)
    for stage in stages[:passed]:
        course.pass_(stage, "")
    course.fail(failed, "", seconds=0.0)
    ended = [step.stage for step in course.steps]
    if failed not in stages[passed:]:
        assert ended.pop(passed) is failed
    assert tuple(ended) == stages
    assert [step.status for step in course.steps].count(StepStatus.FAILED) == 1
    assert course.under_way is None
