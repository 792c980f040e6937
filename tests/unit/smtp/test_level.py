from __future__ import annotations

import pytest

from smtpconnector_server.config.model import Server, TlsMode
from smtpconnector_server.failure import Stage
from smtpconnector_server.smtp.capabilities import Capabilities
from smtpconnector_server.smtp.level import REMEMBERED_SECONDS, LevelMemory
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.smtp.transaction import Accepted, Broken, Command, End, Fault, Level, Refused

BOTH = Capabilities(pipelining=True, chunking=True)


def server(host: str = "mail.example", *, single_flight: bool = False, port: int = 587) -> Server:
    return Server(host=host, port=port, tls_mode=TlsMode.STARTTLS_REQUIRED, single_flight=single_flight)


def broken(fault: Fault = Fault.IRREGULAR, *, blames_level: bool = True) -> Broken:
    return Broken(fault, Stage.MAIL, "sent garbage", is_committed=False, blames_level=blames_level)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("capabilities", "single_flight", "level"),
    [
        (Capabilities(), True, Level.SERIAL),
        (Capabilities(chunking=True), True, Level.SERIAL),
        (Capabilities(pipelining=True), True, Level.PIPELINING),
        (BOTH, False, Level.PIPELINING),
        (BOTH, True, Level.SINGLE_FLIGHT),
    ],
)
def test_begins_with_the_highest_level_that_is_offered_and_trusted(
    capabilities: Capabilities,
    single_flight: bool,
    level: Level,
) -> None:
    assert LevelMemory().level(server(single_flight=single_flight), capabilities) is level


@pytest.mark.parametrize(
    "end",
    [
        broken(),
        broken(Fault.SILENT),
        Refused(Command.DATA, Reply(503), in_sync=True, blames_level=True),
    ],
)
def test_steps_down_at_the_first_irregularity_one_level_at_a_time(end: End) -> None:
    memory, configured = LevelMemory(), server(single_flight=True)
    assert memory.learn(configured, Level.SINGLE_FLIGHT, end) is Level.PIPELINING
    assert memory.level(configured, BOTH) is Level.PIPELINING
    assert memory.learn(configured, Level.PIPELINING, end) is Level.SERIAL
    assert memory.level(configured, BOTH) is Level.SERIAL
    assert memory.learn(configured, Level.SERIAL, end) is None


@pytest.mark.parametrize(
    "end",
    [
        Accepted(Reply(250)),
        Refused(Command.RCPT, Reply(550), in_sync=True),
        broken(blames_level=False),
    ],
)
def test_stays_where_nothing_speaks_against_the_level(end: End) -> None:
    memory, configured = LevelMemory(), server()
    assert memory.learn(configured, Level.PIPELINING, end) is None
    assert memory.level(configured, BOTH) is Level.PIPELINING


def test_a_single_lost_connection_is_no_sign_but_two_in_a_row_are() -> None:
    memory, configured = LevelMemory(), server()
    assert memory.learn(configured, Level.PIPELINING, broken(Fault.LOST)) is None
    assert memory.learn(configured, Level.PIPELINING, Accepted(Reply(250))) is None
    assert memory.learn(configured, Level.PIPELINING, broken(Fault.LOST)) is None
    assert memory.learn(configured, Level.PIPELINING, broken(Fault.LOST)) is Level.SERIAL


def test_forgets_after_a_day() -> None:
    clock = Clock()
    memory, configured = LevelMemory(clock=clock), server()
    memory.learn(configured, Level.PIPELINING, broken())
    clock.now = REMEMBERED_SECONDS - 1
    assert memory.level(configured, BOTH) is Level.SERIAL
    clock.now = REMEMBERED_SECONDS
    assert memory.level(configured, BOTH) is Level.PIPELINING


def test_remembers_for_the_endpoint_and_for_no_other() -> None:
    memory = LevelMemory()
    memory.learn(server(), Level.PIPELINING, broken())
    assert memory.level(server(single_flight=True), BOTH) is Level.SERIAL
    assert memory.level(server(port=25), BOTH) is Level.PIPELINING
    assert memory.level(server("other.example"), BOTH) is Level.PIPELINING


def test_keeps_a_bounded_number_of_endpoints() -> None:
    memory = LevelMemory()
    for port in range(1, 3000):
        memory.learn(server(port=port), Level.PIPELINING, broken())
        memory.learn(server(port=port), Level.PIPELINING, broken(Fault.LOST))
    assert memory.level(server(port=1), BOTH) is Level.PIPELINING
    assert memory.level(server(port=2999), BOTH) is Level.SERIAL
    assert len(memory._lowered) <= 1024
    assert len(memory._losses) <= 1024
