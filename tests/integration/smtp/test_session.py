from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from harness.certificates import server_context
from harness.fault import (
    Fault,
    State,
    close,
    followed_by,
    reply_and_close,
    reply_with,
    reset,
    stall,
    stop_reading,
    then_in_next_segment,
)
from harness.oracle import violations
from harness.proxy import Proxy, Toxics
from harness.smtp_server import ALL_EXTENSIONS, SmtpServer
from smtpconnector_server.config.model import Server, Timeouts
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.smtp.events import SteppedDown
from smtpconnector_server.smtp.opening import Opener
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.smtp.transaction import CHUNK, Command, Level

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from harness.fault import Action
    from smtpconnector_server.smtp.session import Session

ServerFor = Callable[..., Server]

EXTENSIONS = {
    Level.SERIAL: ("SIZE 35882577", "8BITMIME", "SMTPUTF8"),
    Level.PIPELINING: ("PIPELINING", "SIZE 35882577", "8BITMIME", "SMTPUTF8"),
    Level.SINGLE_FLIGHT: ALL_EXTENSIONS,
}
LEVELS = list(Level)
LARGE = b"Subject: Hi\r\n\r\n" + b"YWFhYWFhYWFh\r\n" * 200_000
"""More than the kernel's buffers take when the server's is small."""


class Commit:
    """Notes when the last octet is about to leave."""

    def __init__(self, smtp: SmtpServer) -> None:
        self.smtp = smtp
        self.times = 0
        self.octets_before = 0

    async def __call__(self) -> None:
        self.times += 1
        self.octets_before = len(self.smtp.sessions[-1].client_octets)


async def failure_of(sending: Awaitable[object]) -> Failure:
    with pytest.raises(Failure) as raised:
        await sending
    return raised.value


# The way that is meant


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tls", [False, True])
async def test_sends_mails_one_after_the_other_within_the_rules(
    level: Level,
    tls: bool,
    server_for: ServerFor,
    envelope: Envelope,
) -> None:
    context = server_context() if tls else None
    contents = [b"Subject: 1\r\n\r\n.dot\r\n..\r\n", b"Subject: 2\r\n\r\naGVsbG8=\r\n", b"Subject: 3\r\n\r\n.\r\n"]
    async with SmtpServer(tls=context, extensions=EXTENSIONS[level]) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        assert session.level is level
        for content in contents:
            reply = await session.send(envelope, content)
            assert reply == Reply(250, "2.0.0", "Queued")
        session.wire.quit("done")
        await smtp.all_sessions_ended()
        assert [accepted.content for accepted in smtp.ledger] == contents
        [seen] = smtp.sessions
        assert not violations(seen)
        assert seen.verbs.count(b"RSET") == (0 if level is Level.SERIAL else 2)
        assert seen.verbs[-1] == b"QUIT"
        size = len(contents[0])
        assert seen.commands[seen.verbs.index(b"MAIL")].line == b"MAIL FROM:<a@b.example> SIZE=%d" % size


@pytest.mark.parametrize(("level", "round_trips"), [(Level.SERIAL, 4), (Level.PIPELINING, 2), (Level.SINGLE_FLIGHT, 1)])
async def test_takes_no_more_round_trips_than_its_level_needs(
    level: Level, round_trips: int, server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    slow = Toxics(latency=0.01)
    async with (
        SmtpServer(extensions=EXTENSIONS[level]) as smtp,
        Proxy(smtp.port, upstream=slow, downstream=slow) as proxy,
    ):
        session = await Opener(Dialer()).open(server_for(smtp, port=proxy.port, single_flight=True))
        await session.send(envelope, message)
        before = proxy.links[0].round_trips
        for _ in range(3):
            await session.send(envelope, message)
        assert proxy.links[0].round_trips - before == 3 * round_trips
        session.wire.abort("done")


def test_runs_on_uvloop_too(server_for: ServerFor, envelope: Envelope, message: bytes) -> None:
    async def scenario() -> None:
        for context, implicit in ((None, False), (server_context(), False), (server_context(), True)):
            async with SmtpServer(tls=context, implicit_tls=implicit) as smtp:
                session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
                for content in (message, LARGE):
                    assert (await session.send(envelope, content)).is_positive
                session.wire.quit("done")
                await session.wire.gone
                assert [accepted.content for accepted in smtp.ledger] == [message, LARGE]
            deaf = SmtpServer(Fault(State.BODY, stop_reading), tls=context, implicit_tls=implicit, receive_buffer=4096)
            async with deaf as smtp:
                session = await Opener(Dialer()).open(server_for(smtp, timeouts=Timeouts(socket=0.3)))
                failure = await failure_of(session.send(envelope, LARGE * 4))
                assert failure.outcome is Outcome.NOT_SENT
                await session.wire.gone

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [1, CHUNK - 3, CHUNK, CHUNK + 1, 5 * CHUNK])
async def test_the_commit_comes_once_and_before_the_last_octet(
    level: Level, size: int, server_for: ServerFor, envelope: Envelope
) -> None:
    content = (b"YWFhYWFhYWFh\r\n" * (size // 14 + 1))[: size + 2][:-2] + b"\r\n"
    content = content.replace(b"\r\r\n", b"a\r\n")
    async with SmtpServer(extensions=EXTENSIONS[level]) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        commit = Commit(smtp)
        await session.send(envelope, content, on_commit=commit)
        session.wire.abort("done")
        await smtp.all_sessions_ended()
        assert commit.times == 1
        assert commit.octets_before < len(smtp.sessions[0].client_octets)
        assert [accepted.content for accepted in smtp.ledger] == [content]


@pytest.mark.parametrize("code", [b"251", b"200 2.0.0", b"299"])
@pytest.mark.parametrize("level", LEVELS)
async def test_any_2yz_to_the_message_is_a_yes(
    level: Level, code: bytes, server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    async with SmtpServer(Fault(State.ACCEPTED, reply_with(code + b" fine\r\n")), extensions=EXTENSIONS[level]) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        assert (await session.send(envelope, message)).code == int(code[:3])
        session.wire.abort("done")


# Faults


BEFORE = [State.MAIL, State.RCPT, State.DATA]


@pytest.mark.parametrize("action", [close, reset, reply_with(b"25 ok\r\n"), reply_with(b"250-half\r\n550 other\r\n")])
@pytest.mark.parametrize("state", BEFORE)
@pytest.mark.parametrize("level", [Level.SERIAL, Level.PIPELINING])
async def test_a_fault_before_the_message_is_certainly_not_sent(
    level: Level, state: State, action: Action, server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    async with SmtpServer(Fault(state, action), extensions=EXTENSIONS[level]) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        commit = Commit(smtp)
        failure = await failure_of(session.send(envelope, message, on_commit=commit))
        await smtp.all_sessions_ended()
        assert failure.outcome is Outcome.NOT_SENT
        assert failure.reason in {Reason.SMTP_CONNECTION_LOST, Reason.SMTP_PROTOCOL_ERROR}
        assert commit.times == 0
        assert not session.is_open
        assert b"QUIT" not in smtp.sessions[0].verbs
        assert message not in smtp.sessions[0].client_octets


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    "action",
    [
        close,
        reset,
        reply_with(b"25 ok\r\n"),
        followed_by(b"250 extra\r\n"),
        reply_with(b"354 go\r\n"),
        reply_with(b"250 o"),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
async def test_a_fault_after_the_last_octet_leaves_the_mail_unknown(
    level: Level,
    action: Action,
    tls: bool,
    server_for: ServerFor,
    envelope: Envelope,
    message: bytes,
) -> None:
    context = server_context() if tls else None
    faults = (Fault(State.ACCEPTED, action),)
    if action is not close and action is not reset:
        faults += (Fault(State.IDLE, close),)
    async with SmtpServer(*faults, tls=context, extensions=EXTENSIONS[level]) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        failure = await failure_of(session.send(envelope, message))
        assert (failure.reason, failure.outcome, failure.stage) == (
            Reason.DELIVERY_UNCERTAIN,
            Outcome.UNKNOWN,
            Stage.MESSAGE,
        )
        assert not session.is_open


@pytest.mark.parametrize(
    ("state", "line", "reason", "outcome"),
    [
        (State.MAIL, b"550 5.7.1 not yours\r\n", Reason.SMTP_SENDER_REJECTED, Outcome.REJECTED),
        (State.MAIL, b"451 4.3.0 later\r\n", Reason.SMTP_SENDER_DEFERRED, Outcome.NOT_SENT),
        (State.RCPT, b"550 5.1.1 who\r\n", Reason.SMTP_RECIPIENT_REJECTED, Outcome.REJECTED),
        (State.RCPT, b"450 4.2.1 busy\r\n", Reason.SMTP_RECIPIENT_DEFERRED, Outcome.NOT_SENT),
        (State.RECEIVED, b"554 5.7.1 spam\r\n", Reason.SMTP_MESSAGE_REJECTED, Outcome.REJECTED),
        (State.RECEIVED, b"451 4.3.0 later\r\n", Reason.SMTP_MESSAGE_DEFERRED, Outcome.NOT_SENT),
    ],
)
@pytest.mark.parametrize("level", LEVELS)
async def test_a_refused_mail_is_followed_by_a_good_one_on_the_same_connection(
    level: Level,
    state: State,
    line: bytes,
    reason: Reason,
    outcome: Outcome,
    server_for: ServerFor,
    envelope: Envelope,
    message: bytes,
) -> None:
    fault = Fault(state, reply_with(line), occurrence=1)
    async with SmtpServer(fault, extensions=EXTENSIONS[level]) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        failure = await failure_of(session.send(envelope, message))
        assert (failure.reason, failure.outcome) == (reason, outcome)
        assert session.is_open
        assert (await session.send(envelope, message)).code == 250
        session.wire.abort("done")
        await smtp.all_sessions_ended()
        assert len(smtp.ledger) == 1
        assert smtp.sessions[0].verbs.count(b"RSET") == 1
        assert not violations(smtp.sessions[0])


@pytest.mark.parametrize("line", [b"421 4.3.2 closing\r\n", b"552 5.3.4 too much\r\n"])
async def test_a_refusal_in_the_middle_of_a_large_message_is_definite(
    line: bytes, server_for: ServerFor, envelope: Envelope
) -> None:
    async with SmtpServer(Fault(State.BODY, reply_and_close(line)), receive_buffer=4096) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        commit = Commit(smtp)
        failure = await failure_of(session.send(envelope, LARGE * 4, on_commit=commit))
        assert failure.outcome is (Outcome.NOT_SENT if line.startswith(b"4") else Outcome.REJECTED)
        assert failure.stage is Stage.MESSAGE
        assert commit.times == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_that_stops_reading_in_the_middle_has_not_got_the_mail(
    tls: bool,
    server_for: ServerFor,
    envelope: Envelope,
) -> None:
    context = server_context() if tls else None
    async with SmtpServer(Fault(State.BODY, stop_reading), tls=context, receive_buffer=4096) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, timeouts=Timeouts(socket=0.3)))
        commit = Commit(smtp)
        failure = await failure_of(session.send(envelope, LARGE * 4, on_commit=commit))
        assert (failure.reason, failure.outcome) == (Reason.SMTP_CONNECTION_LOST, Outcome.NOT_SENT)
        assert "stopped reading" in failure.message
        assert commit.times == 0
        await session.wire.gone


async def test_silence_before_the_message_is_waited_out_no_longer_than_told(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    async with SmtpServer(Fault(State.RCPT, stall)) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, timeouts=Timeouts(socket=0.1)))
        failure = await failure_of(session.send(envelope, message))
        assert (failure.reason, failure.outcome) == (Reason.SMTP_CONNECTION_LOST, Outcome.NOT_SENT)


async def test_the_reply_to_the_message_is_waited_for_longer_than_others(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    async def late(wire: Any, reply: bytes) -> None:
        await asyncio.sleep(0.3)
        await wire.send(reply)

    async with SmtpServer(Fault(State.ACCEPTED, late)) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, timeouts=Timeouts(socket=0.1)))
        assert (await session.send(envelope, message)).code == 250
        session.wire.abort("done")


@pytest.mark.parametrize("state", [State.MAIL, State.DATA, State.RECEIVED])
async def test_a_cancelled_mail_takes_its_connection_with_it(
    state: State, server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    async with SmtpServer(Fault(state, stall)) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        sending = asyncio.create_task(session.send(envelope, message))
        await smtp.reached(state)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not session.is_open
        await smtp.all_sessions_ended()
        assert b"QUIT" not in smtp.sessions[0].verbs
        assert not smtp.ledger


async def test_a_commit_that_fails_sends_nothing(server_for: ServerFor, envelope: Envelope, message: bytes) -> None:
    async def refuse() -> None:
        raise RuntimeError("the journal is full")

    async with SmtpServer() as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        with pytest.raises(RuntimeError, match="journal"):
            await session.send(envelope, message, on_commit=refuse)
        await smtp.all_sessions_ended()
        assert not smtp.ledger
        assert not session.is_open


async def test_a_server_that_speaks_unasked_loses_its_connection(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    async with SmtpServer() as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        await session.send(envelope, message)
        await smtp.sessions[0].strike(reply_with(b"451 4.4.2 Timeout\r\n"))
        await session.wire.gone
        assert not session.is_open
        failure = await failure_of(session.send(envelope, message))
        assert (failure.reason, failure.outcome) == (Reason.SMTP_CONNECTION_LOST, Outcome.NOT_SENT)


async def test_what_comes_right_behind_the_reply_ends_the_connection(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    fault = Fault(State.ACCEPTED, then_in_next_segment(b"250 extra\r\n"))
    async with SmtpServer(fault) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        try:
            await session.send(envelope, message)
        except Failure as failure:  # both came as one after all
            assert failure.outcome is Outcome.UNKNOWN  # noqa: PT017
        await session.wire.gone
        assert not session.is_open


# Levels


@pytest.mark.parametrize("level", [Level.PIPELINING, Level.SINGLE_FLIGHT])
async def test_steps_down_at_the_first_irregularity_and_says_so(
    level: Level, server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    told: list[object] = []
    fault = Fault(State.MAIL, reply_with(b"25 ok\r\n"), connection=1)
    async with SmtpServer(fault, extensions=EXTENSIONS[level]) as smtp:
        opener, server = Opener(Dialer(), hook=told.append), server_for(smtp, single_flight=True)
        await failure_of((await opener.open(server)).send(envelope, message))
        session = await opener.open(server)
        assert session.level is Level(level - 1)
        await session.send(envelope, message)
        session.wire.abort("done")
    [event] = [event for event in told if isinstance(event, SteppedDown)]
    assert (event.host, event.port, event.level, event.lowered) == ("127.0.0.1", smtp.port, level, Level(level - 1))


async def test_a_mail_refused_for_its_flight_alone_goes_again_at_a_lower_level(
    server_for: ServerFor, envelope: Envelope, message: bytes
) -> None:
    fault = Fault(State.RECEIVED, reply_with(b"503 5.5.1 wait for my replies\r\n"), occurrence=1)
    async with SmtpServer(fault) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        assert (await session.send(envelope, message)).code == 250
        assert session.level is Level.PIPELINING
        session.wire.abort("done")
        await smtp.all_sessions_ended()
        assert [verb for verb in smtp.sessions[0].verbs if verb in {b"BDAT", b"DATA"}] == [b"BDAT", b"DATA"]
        assert len(smtp.ledger) == 1


async def test_no_line_of_a_refused_single_flight_is_taken_for_a_command(
    server_for: ServerFor, envelope: Envelope
) -> None:
    content = b"Subject: Hi\r\nMIME-Version: 1.0\r\n\r\n" + b"UVVJVA0KUVVJVA0KUVVJVA0KUVVJVA0K\r\n" * 5
    fault = Fault(State.RCPT, reply_with(b"550 5.1.1 who\r\n"))
    async with SmtpServer(fault, runs_refused_chunks=True) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp, single_flight=True))
        failure = await failure_of(session.send(envelope, content))
        await smtp.all_sessions_ended()
        assert failure.outcome in {Outcome.REJECTED, Outcome.UNKNOWN}
        assert not session.is_open
        known = {b"EHLO", b"MAIL", b"RCPT", b"BDAT", b"RSET", b"QUIT", b"DATA", b"NOOP", b"AUTH", b"STARTTLS"}
        run = smtp.sessions[0].verbs[smtp.sessions[0].verbs.index(b"BDAT") + 1 :]
        assert run
        assert not known & set(run)


# What a server cannot take


async def test_does_not_try_a_message_that_is_too_large(server_for: ServerFor, envelope: Envelope) -> None:
    async with SmtpServer(extensions=("SIZE 100",)) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        failure = await failure_of(session.send(envelope, b"x" * 99 + b"\r\n"))
        assert (failure.reason, failure.stage) == (Reason.SMTP_MESSAGE_TOO_LARGE, Stage.MAIL)
        assert session.is_open
        await session.send(envelope, b"x" * 98 + b"\r\n")
        session.wire.abort("done")
        assert smtp.sessions[0].verbs.count(b"MAIL") == 1


@pytest.mark.parametrize(
    "mail",
    [
        Envelope(sender="a@b.example", recipient="用户@例子.example"),
        Envelope(sender="a@b.example", recipient="c@d.example", smtputf8=True),
    ],
)
async def test_asks_for_smtputf8_where_it_is_needed_and_offered(mail: Envelope, server_for: ServerFor) -> None:
    content = "Subject: Hi\r\nTo: 用户@例子.example\r\n\r\naGk=\r\n".encode()
    async with SmtpServer() as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        await session.send(mail, content)
        session.wire.abort("done")
        line = smtp.sessions[0].commands[1].line
        assert line.endswith(b" BODY=8BITMIME SMTPUTF8")
    async with SmtpServer(extensions=("PIPELINING", "8BITMIME")) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        failure = await failure_of(session.send(mail, content))
        session.wire.abort("done")
        assert failure.reason is Reason.SMTP_SMTPUTF8_UNSUPPORTED
        assert smtp.sessions[0].verbs == [b"EHLO"]


async def test_shows_no_address_that_a_server_echoes(server_for: ServerFor, envelope: Envelope, message: bytes) -> None:
    echo = reply_with(b"550 5.1.1 <c@d.example>: unknown, said A@B.EXAMPLE\r\n")
    async with SmtpServer(Fault(State.RCPT, echo)) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        failure = await failure_of(session.send(envelope, message))
        session.wire.abort("done")
        assert failure.reply is not None
        assert failure.reply.text == "<***>: unknown, said ***"


# Rehearsal


async def test_a_rehearsal_tries_the_envelope_and_sends_nothing(server_for: ServerFor, envelope: Envelope) -> None:
    heard: list[tuple[Command, int]] = []

    async def rehearse(session: Session) -> None:
        await session.rehearse(envelope, lambda command, reply: heard.append((command, reply.code)))

    async with SmtpServer(Fault(State.RCPT, reply_with(b"550 5.1.1 who\r\n"), occurrence=2)) as smtp:
        session = await Opener(Dialer()).open(server_for(smtp))
        await rehearse(session)
        failure = await failure_of(rehearse(session))
        session.wire.quit("done")
        await smtp.all_sessions_ended()
        assert failure.reason is Reason.SMTP_RECIPIENT_REJECTED
        assert smtp.sessions[0].verbs == [b"EHLO", b"MAIL", b"RCPT", b"RSET", b"MAIL", b"RCPT", b"QUIT"]
    assert heard == [
        (Command.MAIL, 250),
        (Command.RCPT, 250),
        (Command.RSET, 250),
        (Command.MAIL, 250),
        (Command.RCPT, 550),
    ]
