"""The hook that all rooms are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from smtpconnector_server.delivery.events import MailSettled
from smtpconnector_server.rpc.events import CallEnded
from smtpconnector_server.telemetry.hook import tell

if TYPE_CHECKING:
    from smtpconnector_server.telemetry.hook import Event

EVENT = CallEnded("SendMessage", "OK", None, 0.1)


def test_every_adapter_is_told() -> None:
    first: list[Event] = []
    second: list[Event] = []
    tell({CallEnded: first.append}, {CallEnded: second.append})(EVENT)
    assert (first, second) == ([EVENT], [EVENT])


def test_an_adapter_is_told_only_what_it_listens_to() -> None:
    told: list[Event] = []
    tell({MailSettled: told.append})(EVENT)
    assert told == []


def test_an_adapter_that_breaks_harms_neither_the_mail_nor_the_next_adapter() -> None:
    def broken(event: Event) -> None:
        raise ValueError("canary-secret")

    told: list[Event] = []
    with structlog.testing.capture_logs() as lines:
        tell({CallEnded: broken}, {CallEnded: told.append})(EVENT)
    assert told == [EVENT]
    assert [(line["event"], line["telling"], line["error_type"]) for line in lines] == [
        ("telemetry_broke", "CallEnded", "ValueError")
    ]
    assert "canary" not in str(lines)
