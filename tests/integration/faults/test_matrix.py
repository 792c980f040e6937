"""Every fault at every state, at every level and on every transport: is what the sender is told true?

The tables are design rules, not observations. Each cell sends one mail into a fault and another one after it, and joins
what their sender is told with the server's ledger.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import uvloop

from harness.attempt import CREDENTIALS, PATIENT, Answer, Transport, attempt, configuration
from harness.certificates import server_context
from harness.fault import (
    MALFORMED,
    Action,
    Fault,
    State,
    close,
    close_politely,
    cut_after,
    drip,
    endless,
    followed_by,
    reply_and_close,
    reply_with,
    reset,
    stall,
    stop_reading,
    together_with_next,
)
from harness.oracle import violations
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import Timeouts
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool
from smtpconnector_server.smtp.transaction import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.attempt import Told
    from harness.smtp_session import Accepted

# What the sender must be told. An asterisk: the connection is in order and serves the next mail; everywhere else it was
# aborted, without QUIT, and the next mail has one of its own. An exclamation mark: the next mail is told the same
# without a connection, because refused credentials are not tried again at once. A dash: nothing to be tried there.
#
#   lost       the server closes, resets, is silent or too slow until the client's patience ends; or the caller cancels
#   irregular  a malformed reply, one of the wrong kind, or one more than was asked for, in the same segment
#   early      the reply to the next command comes in the same segment: before that command, unless commands go together
BEFORE_TABLE = """
            lost      irregular  early      4yz        5yz        421
CONNECT     NOT_SENT  -          -          -          -          -
GREETING    NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT   REJECTED   NOT_SENT
EHLO        NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT   REJECTED   NOT_SENT
STARTTLS    NOT_SENT  NOT_SENT   -          NOT_SENT   NOT_SENT   NOT_SENT
TLS         NOT_SENT  NOT_SENT   -          -          -          -
EHLO2       NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT   REJECTED   NOT_SENT
AUTH1       NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT   REJECTED!  NOT_SENT
AUTH2       NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT   REJECTED!  NOT_SENT
"""
SERIAL_TABLE = """
            lost      irregular  early      4yz        5yz        421
RSET        NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT   NOT_SENT   NOT_SENT
MAIL        NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT*  REJECTED*  NOT_SENT
RCPT        NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT*  REJECTED*  NOT_SENT
DATA        NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT*  REJECTED*  NOT_SENT
BODY        NOT_SENT  NOT_SENT   -          NOT_SENT   REJECTED   NOT_SENT
RECEIVED    UNKNOWN   UNKNOWN    -          NOT_SENT*  REJECTED*  NOT_SENT
ACCEPTED    UNKNOWN   UNKNOWN    -          -          -          -
"""
PIPELINING_TABLE = """
            lost      irregular  early      4yz        5yz        421
RSET        NOT_SENT  NOT_SENT   SENT*      NOT_SENT   NOT_SENT   NOT_SENT
MAIL        NOT_SENT  NOT_SENT   SENT*      NOT_SENT*  REJECTED*  NOT_SENT
RCPT        NOT_SENT  NOT_SENT   SENT*      NOT_SENT*  REJECTED*  NOT_SENT
DATA        NOT_SENT  NOT_SENT   NOT_SENT   NOT_SENT*  REJECTED*  NOT_SENT
BODY        NOT_SENT  NOT_SENT   -          NOT_SENT   REJECTED   NOT_SENT
RECEIVED    UNKNOWN   UNKNOWN    -          NOT_SENT*  REJECTED*  NOT_SENT
ACCEPTED    UNKNOWN   UNKNOWN    -          -          -          -
"""
# In a single flight the last octet of the message leaves with the first command: only a refusal is definite.
SINGLE_FLIGHT_TABLE = """
            lost      irregular  early      4yz        5yz        421
RSET        UNKNOWN   UNKNOWN    SENT*      UNKNOWN    UNKNOWN    NOT_SENT
MAIL        UNKNOWN   UNKNOWN    SENT*      NOT_SENT*  REJECTED*  NOT_SENT
RCPT        UNKNOWN   UNKNOWN    SENT*      NOT_SENT*  REJECTED*  NOT_SENT
BODY        UNKNOWN   UNKNOWN    -          NOT_SENT   REJECTED   NOT_SENT
RECEIVED    UNKNOWN   UNKNOWN    -          NOT_SENT*  REJECTED*  NOT_SENT
ACCEPTED    UNKNOWN   UNKNOWN    -          -          -          -
"""
TABLES = {
    Level.SERIAL: BEFORE_TABLE + SERIAL_TABLE,
    Level.PIPELINING: BEFORE_TABLE + PIPELINING_TABLE,
    Level.SINGLE_FLIGHT: BEFORE_TABLE + SINGLE_FLIGHT_TABLE,
}
ABSENT = {
    Transport.PLAIN: {State.STARTTLS, State.TLS, State.EHLO2},
    Transport.STARTTLS: set(),
    Transport.IMPLICIT_TLS: {State.STARTTLS, State.EHLO2},
}
EXTENSIONS = {
    Level.SERIAL: ("SIZE 35882577", "8BITMIME"),
    Level.PIPELINING: ("PIPELINING", "SIZE 35882577", "8BITMIME"),
    Level.SINGLE_FLIGHT: ("PIPELINING", "CHUNKING", "SIZE 35882577", "8BITMIME"),
}
MESSAGE = b"Subject: x\r\n\r\n.dot\r\n"
SECOND_MESSAGE = b"Subject: y\r\n\r\nsecond\r\n"
LARGE_MESSAGE = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 100_000
"""More than the kernel's buffers hold, so that the end is not out while the server reads nothing."""
IMPATIENT = Timeouts(dns=20, connection=0.5, greeting=0.5, socket=0.5)
CELL_SECONDS = 20.0
AT_ONCE = 24

LOST = {
    "close": close,
    "close_politely": close_politely,
    "reset": reset,
    "cut": cut_after(4),
    "stall": stall,
    "drip": drip(0.2),
    "cancel": stall,
}
SILENT = {"stall", "drip"}
"""Ended by the client's patience."""
WRONG_KIND = {State.DATA: b"250 wrong kind\r\n"}
HAS_REPLY = set(State) - {State.CONNECT, State.TLS, State.BODY}


@dataclass(frozen=True)
class Cell:
    """One fault and what follows from it."""

    level: Level
    transport: Transport
    state: State
    name: str
    action: Action = field(repr=False)
    expected: Answer
    serves_next: int | None
    """The connection that serves the next mail. None: none does."""

    def __str__(self) -> str:
        return f"{self.state.name} {self.name}"

    @property
    def is_aborted(self) -> bool:
        """Whether the client ends the connection by itself, without a word."""
        return self.serves_next != 1

    @property
    def outlives_caller(self) -> bool:
        """Whether the server's end stays open, or the client's: a session that is being opened is the pool's."""
        is_opening = any(state is self.state for state, _, _ in _entries(BEFORE_TABLE))
        return self.action is stop_reading or (self.name == "cancel" and is_opening)

    @property
    def message(self) -> bytes:
        """A mail whose end is not out when the server sees its beginning, where that makes the difference."""
        is_large = self.state is State.BODY and self.level is not Level.SINGLE_FLIGHT
        return LARGE_MESSAGE if is_large else MESSAGE


def cells(level: Level, transport: Transport) -> Iterator[Cell]:
    for state, column, expected in _entries(TABLES[level]):
        if state in ABSENT[transport]:
            continue
        answer = Answer(expected.rstrip("*!"))
        serves_next = {"*": 1, "!": None}.get(expected[-1], 2)
        for name, action in _actions(column, state, level):
            if name in SILENT and answer is Answer.UNKNOWN:
                continue  # patience after the last octet is ten minutes (RFC 5321, section 4.5.3.2.6); see "cancel"
            if name == "stray" and level is Level.SINGLE_FLIGHT and state in {State.RSET, State.MAIL, State.RCPT}:
                continue  # nobody can tell it from the reply that is due: why this level is for trusted servers only
            yield Cell(level, transport, state, name, action, answer, serves_next)


def _entries(table: str) -> Iterator[tuple[State, str, str]]:
    columns: list[str] = []
    for line in filter(None, table.splitlines()):
        if line.startswith(" "):
            columns = line.split()
            continue
        state, *entries = line.split()
        for column, entry in zip(columns, entries, strict=True):
            if entry != "-":
                yield State[state], column, entry


def _actions(column: str, state: State, level: Level) -> Iterator[tuple[str, Action]]:
    match column:
        case "lost" if state is State.BODY:
            yield from {"close": close, "reset": reset, "stall": stop_reading, "cancel": stop_reading}.items()
        case "lost":
            yield from (
                (name, action) for name, action in LOST.items() if name not in {"cut", "drip"} or state in HAS_REPLY
            )
        case "irregular" if state is State.BODY:
            yield "accepted before its end", reply_with(b"250 2.0.0 early\r\n")
        case "irregular" if state is State.TLS:
            yield "plain text", reply_with(b"250 plain text\r\n")
        case "irregular":
            yield "stray", followed_by(b"250 stray\r\n")
            yield "half a stray", followed_by(b"25")
            yield "endless", endless(b"250-and more\r\n" * 50)
            yield "wrong kind", reply_with(WRONG_KIND.get(state, b"354 wrong kind\r\n"))
            for name in MALFORMED if state in {State.MAIL, State.ACCEPTED} else ("bare LF", "HTTP"):
                yield name, reply_with(MALFORMED[name])
        case "early":
            next_is_data = state is State.RCPT and level is not Level.SINGLE_FLIGHT
            yield "early", together_with_next(b"354 early\r\n" if next_is_data else b"250 early\r\n")
        case "421":
            yield "421", reply_and_close(b"421 4.3.2 closing\r\n")
        case _:
            reply = {"4yz": b"451 4.3.0 not now\r\n", "5yz": b"554 5.6.0 never\r\n"}[column]
            yield column, (reply_and_close if state is State.BODY else reply_with)(reply)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("transport", Transport, ids=lambda transport: transport.name)
@pytest.mark.parametrize("level", Level, ids=lambda level: level.name)
def test_every_fault_at_every_state_gets_a_true_answer(
    level: Level, transport: Transport, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = runner.run(run_cells(cells(level, transport)))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


async def run_cells(all_cells: Iterable[Cell]) -> list[str]:
    """Run the cells side by side and say what is wrong."""
    dialer = Dialer()  # its TLS context is made once
    turn = asyncio.Semaphore(AT_ONCE)

    async def run(cell: Cell) -> list[str]:
        async with turn:
            try:
                async with asyncio.timeout(CELL_SECONDS):
                    return [f"{cell}: {complaint}" for complaint in await complaints(cell, dialer)]
            except Exception as error:  # noqa: BLE001 - one bad cell must not hide the others
                return [f"{cell}: {error!r}"]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(cell)) for cell in all_cells]
    return [complaint for task in tasks for complaint in task.result()]


async def complaints(cell: Cell, dialer: Dialer) -> list[str]:
    """Run one cell and say what is wrong."""
    server = server_for(cell)
    pool = SessionPool(dialer=dialer)
    async with server:
        single_flight = cell.level is Level.SINGLE_FLIGHT
        target = configuration(
            server.port,
            cell.transport,
            timeouts=IMPATIENT if cell.name in SILENT else PATIENT,
            single_flight=single_flight,
        )
        if cell.state is State.RSET:
            await attempt(pool, target, MESSAGE)  # refused: it leaves a transaction that RSET must clear
        gives_up = server.reached(cell.state) if cell.name == "cancel" else None
        first = await attempt(pool, target, cell.message, cancelled_when=gives_up)
        if cell.is_aborted and not cell.outlives_caller:
            await server.all_sessions_ended()  # by the client's own doing: nothing has asked the pool to close
        if cell.name in SILENT:
            target = configuration(server.port, cell.transport, single_flight=single_flight)
        second = await attempt(pool, target, SECOND_MESSAGE)
        await pool.close(grace=0)
        if cell.action is not stop_reading:
            await server.all_sessions_ended()
    return [
        *_of_answers(cell, first, second),
        *_of_ledger(cell, first, server.ledger),
        *_of_connections(cell, server),
    ]


def server_for(cell: Cell) -> SmtpServer:
    faults = [Fault(cell.state, cell.action, connection=1, occurrence=1)]
    if cell.state is State.RSET:
        faults.append(Fault(State.RCPT, reply_with(b"550 5.1.1 no\r\n"), connection=1, occurrence=1))
    return SmtpServer(
        *faults,
        extensions=EXTENSIONS[cell.level],
        tls=None if cell.transport is Transport.PLAIN else server_context(),
        implicit_tls=cell.transport is Transport.IMPLICIT_TLS,
        credentials=CREDENTIALS,
        mechanisms=("LOGIN",) if cell.state is State.AUTH2 else ("PLAIN",),
        receive_buffer=4096 if cell.message is LARGE_MESSAGE else None,
    )


def _of_answers(cell: Cell, first: Told, second: Told) -> Iterator[str]:
    if first.answer is not cell.expected:
        yield f"told {first.answer.name} ({first.why}), should be {cell.expected.name}"
    if second.answer is not (Answer.SENT if cell.serves_next else cell.expected):
        yield f"the next mail got {second.answer.name} ({second.why})"


def _of_ledger(cell: Cell, first: Told, ledger: list[Accepted]) -> Iterator[str]:
    times = sum(mail.content == cell.message for mail in ledger)
    if first.answer is Answer.SENT and times != 1:
        yield f"told SENT, and it is in the ledger {times} times"
    if first.answer in {Answer.NOT_SENT, Answer.REJECTED} and times:
        yield f"told {first.answer.name}, and it is in the ledger"
    if any(mail.content not in {cell.message, SECOND_MESSAGE} for mail in ledger):
        yield "the ledger holds what nobody has sent"
    served = [mail.connection for mail in ledger if mail.content == SECOND_MESSAGE]
    if served != ([cell.serves_next] if cell.serves_next else []):
        yield f"the next mail came by connections {served}"


def _of_connections(cell: Cell, server: SmtpServer) -> Iterator[str]:
    for session in server.sessions:
        for violation in violations(session, clear_auth_allowed=cell.transport is Transport.PLAIN):
            yield f"connection {session.number}: {violation}"
    faulty, *_ = server.sessions
    if cell.is_aborted and (b"QUIT" in faulty.verbs or b"QUIT" in faulty.octets_after_fault):
        yield "QUIT on a connection that should have been aborted"
    if cell.is_aborted and cell.state is not State.BODY and faulty.octets_after_fault:
        yield f"went on after the fault with {faulty.octets_after_fault[:40]!r}"
