from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.failure import Stage
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.smtp.transaction import (
    CHUNK,
    Accepted,
    Broken,
    Command,
    Fault,
    Level,
    Refused,
    Transaction,
    can_fly_single,
)

ENVELOPE = Envelope(sender="a@b.example", recipient="c@d.example")
MESSAGE = b"Subject: Hi\r\n\r\naGVsbG8=\r\n"
MAIL, RCPT, DATA, RSET = b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n", b"RSET\r\n"
BDAT = b"BDAT %d LAST\r\n%b" % (len(MESSAGE), MESSAGE)
LEVELS = list(Level)


def start(level: Level, message: bytes | None = MESSAGE, *, reset: bool = False) -> Transaction:
    return Transaction(ENVELOPE, message, level=level, reset=reset)


def drain(transaction: Transaction) -> bytes:
    octets = b""
    while transaction.has_octets:
        octets += transaction.next_octets()
    return octets


def converse(transaction: Transaction, *replies: bytes) -> list[bytes]:
    """Write, receive, write …; return what was written each time."""
    written = [drain(transaction)]
    for reply in replies:
        transaction.receive(reply)
        written.append(drain(transaction))
    return written


def is_broken(transaction: Transaction, fault: Fault = Fault.IRREGULAR, *, committed: bool = False) -> bool:
    end = transaction.end
    return isinstance(end, Broken) and end.fault is fault and end.is_committed is committed


# What goes out, and when


def test_serial_sends_one_command_at_a_time() -> None:
    transaction = start(Level.SERIAL)
    written = converse(transaction, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 2.0.0 Queued\r\n")
    assert written == [MAIL, RCPT, DATA, MESSAGE + b".\r\n", b""]
    assert transaction.end == Accepted(Reply(250, "2.0.0", "Queued"))


def test_pipelining_sends_all_that_comes_before_the_message_in_one_flight() -> None:
    transaction = start(Level.PIPELINING)
    written = converse(transaction, b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 ok\r\n")
    assert written == [MAIL + RCPT + DATA, MESSAGE + b".\r\n", b""]
    assert isinstance(transaction.end, Accepted)


def test_single_flight_sends_everything_at_once_with_exact_count_and_no_dots_doubled() -> None:
    message = b"A: b\r\n\r\n.dot\r\n"
    transaction = start(Level.SINGLE_FLIGHT, message)
    assert drain(transaction) == MAIL + RCPT + b"BDAT 14 LAST\r\nA: b\r\n\r\n.dot\r\n"
    transaction.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n")
    assert isinstance(transaction.end, Accepted)


@pytest.mark.parametrize(
    ("level", "first"),
    [
        (Level.SERIAL, RSET),
        (Level.PIPELINING, RSET + MAIL + RCPT + DATA),
        (Level.SINGLE_FLIGHT, RSET + MAIL + RCPT + BDAT),
    ],
)
def test_rset_goes_first_where_it_is_wanted(level: Level, first: bytes) -> None:
    assert drain(start(level, reset=True)) == first


def test_adds_the_parameters_to_mail() -> None:
    transaction = Transaction(ENVELOPE, MESSAGE, level=Level.SERIAL, parameters=" SIZE=24 SMTPUTF8")
    assert drain(transaction) == b"MAIL FROM:<a@b.example> SIZE=24 SMTPUTF8\r\n"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\n..\r\nb.\r\n", b"a\r\n..\r\n...\r\nb.\r\n.\r\n"),
        (b".a\r\n", b"..a\r\n.\r\n"),
    ],
)
def test_doubles_the_dot_that_begins_a_line(message: bytes, text: bytes) -> None:
    written = converse(start(Level.PIPELINING, message), b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert written[1] == text


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"a",
        b"a\n",
        b"a\r\nb\r",
        b"a\nb\r\n",
        b"a\rb\r\n",
        b"a\r\n\n\r\n",
        b"a\0b\r\n",
        b"\n.\n\r\n",
        b"a\r.\r\r\n",
    ],
)
def test_refuses_a_message_that_is_not_canonical(message: bytes) -> None:
    with pytest.raises(ValueError, match="CRLF"):
        start(Level.PIPELINING, message)


def test_a_rehearsal_never_says_data() -> None:
    transaction = start(Level.PIPELINING, None)
    assert converse(transaction, b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n") == [MAIL, RCPT, RSET, b""]
    assert isinstance(transaction.end, Accepted)
    assert [command for command, _ in transaction.replies] == [Command.MAIL, Command.RCPT, Command.RSET]
    assert not transaction.is_committed


# Which messages may fly single


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<x@y.example>",
        b"data",
        b"QUIT",
        b"RSET",
        b"  RSET",
        b"\tNoop",
        b"XCLIENT ADDR=1.2.3.4",
        b"Hello there",
        b"STARTTLS",
    ],
)
def test_a_message_with_a_line_like_a_command_is_not_sent_in_one_flight(line: bytes) -> None:
    message = b"Subject: Hi\r\n\r\n" + line + b"\r\naGVsbG8=\r\n"
    assert not can_fly_single(message)
    transaction = start(Level.SINGLE_FLIGHT, message)
    assert transaction.level is Level.PIPELINING
    assert drain(transaction) == MAIL + RCPT + DATA


def test_a_message_of_header_fields_and_base64_can_fly_single() -> None:
    assert can_fly_single(
        b'Date: Fri, 21 Nov 2025 07:00:00 +0000\r\nFrom: "A B" <a@b.example>\r\nTo: c@d.example\r\n'
        b"Subject: =?utf-8?Q?x?=\r\n =?utf-8?Q?y?=\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative;\r\n boundary="=_x"\r\n\r\n'
        b"--=_x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nUVVJVA0KUVVJVA==\r\n--=_x--\r\n"
    )


def test_a_message_larger_than_one_write_does_not_fly_single() -> None:
    message = b"A: b\r\n\r\n" + b"aGVsbG8=\r\n" * (CHUNK // 10)
    assert start(Level.SINGLE_FLIGHT, message).level is Level.PIPELINING


# What replies mean


@pytest.mark.parametrize("level", LEVELS)
def test_any_2yz_to_the_message_accepts_it(level: Level) -> None:
    head = [b"250 ok\r\n", b"251 ok\r\n"] + [b"354 go\r\n"] * (level is not Level.SINGLE_FLIGHT)
    transaction = start(level)
    converse(transaction, *head, b"299 fine\r\n")
    assert transaction.end == Accepted(Reply(299, "", "fine"))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("code", [b"421", b"451", b"550", b"503"])
def test_a_refused_message_is_refused(level: Level, code: bytes) -> None:
    head = [b"250 ok\r\n", b"250 ok\r\n"] + [b"354 go\r\n"] * (level is not Level.SINGLE_FLIGHT)
    transaction = start(level)
    converse(transaction, *head, code + b" no\r\n")
    end = transaction.end
    assert isinstance(end, Refused)
    assert end.command is Command.MESSAGE
    assert end.in_sync is (code != b"421")


def test_the_first_refusal_of_a_flight_is_the_one_that_counts() -> None:
    transaction = start(Level.PIPELINING)
    converse(transaction, b"550 5.7.1 sender\r\n503 no\r\n503 no\r\n")
    assert transaction.end == Refused(Command.MAIL, Reply(550, "5.7.1", "sender"), in_sync=True)


def test_a_refused_recipient_leaves_the_connection_fit_for_use() -> None:
    transaction = start(Level.PIPELINING)
    converse(transaction, b"250 ok\r\n550 5.1.1 who\r\n554 no valid recipients\r\n")
    assert transaction.end == Refused(Command.RCPT, Reply(550, "5.1.1", "who"), in_sync=True)


def test_a_server_that_wants_text_without_a_recipient_gets_none() -> None:
    transaction = start(Level.PIPELINING)
    written = converse(transaction, b"250 ok\r\n550 who\r\n354 go\r\n")
    assert written[1:] == [b""]
    assert transaction.end == Refused(Command.RCPT, Reply(550, "", "who"), in_sync=False)
    assert not transaction.is_committed


def test_a_refused_recipient_of_a_single_flight_is_refused_and_in_step() -> None:
    transaction = start(Level.SINGLE_FLIGHT)
    converse(transaction, b"250 ok\r\n550 5.1.1 who\r\n554 5.5.1 no valid recipients\r\n")
    assert transaction.end == Refused(Command.RCPT, Reply(550, "5.1.1", "who"), in_sync=True)


def test_a_message_accepted_after_its_recipient_was_refused_is_a_contradiction() -> None:
    transaction = start(Level.SINGLE_FLIGHT)
    converse(transaction, b"250 ok\r\n550 who\r\n250 ok\r\n")
    assert is_broken(transaction, committed=True)


def test_a_server_that_runs_the_refused_message_as_commands_has_refused_it_all_the_same() -> None:
    transaction = start(Level.SINGLE_FLIGHT)
    converse(transaction, b"250 ok\r\n550 5.1.1 who\r\n503 no\r\n500 what\r\n500 what\r\n")
    end = transaction.end
    assert isinstance(end, Refused)
    assert (end.command, end.in_sync, end.blames_level) == (Command.RCPT, False, True)


@pytest.mark.parametrize(
    ("level", "replies"),
    [
        (Level.PIPELINING, b"250 ok\r\n503 bad sequence\r\n503 bad sequence\r\n"),
        (Level.PIPELINING, b"250 ok\r\n250 ok\r\n503 wait for replies\r\n"),
        (Level.SINGLE_FLIGHT, b"250 ok\r\n250 ok\r\n503 wait for replies\r\n"),
        (Level.SINGLE_FLIGHT, b"250 ok\r\n250 ok\r\n502 what\r\n"),
    ],
)
def test_a_server_that_lost_its_place_in_a_flight_blames_the_level(level: Level, replies: bytes) -> None:
    transaction = start(level)
    converse(transaction, replies)
    assert isinstance(transaction.end, Refused)
    assert transaction.end.blames_level
    assert transaction.end.in_sync


def test_a_503_to_mail_or_one_command_at_a_time_blames_no_level() -> None:
    flight = start(Level.PIPELINING)
    converse(flight, b"503 AUTH first\r\n503 no\r\n503 no\r\n")
    serial = start(Level.SERIAL)
    converse(serial, b"250 ok\r\n", b"503 no\r\n")
    for transaction in (flight, serial):
        assert isinstance(transaction.end, Refused)
        assert not transaction.end.blames_level


@pytest.mark.parametrize("reset", [False, True])
def test_421_in_a_flight_that_holds_no_message_ends_it_at_once(reset: bool) -> None:
    transaction = start(Level.PIPELINING, reset=reset)
    converse(transaction, b"421 4.3.2 closing\r\n")
    end = transaction.end
    assert isinstance(end, Refused)
    assert end.command is (Command.RSET if reset else Command.MAIL)
    assert end.command.stage is (Stage.POOL if reset else Stage.MAIL)
    assert not end.in_sync


def test_a_refusal_in_the_middle_of_a_message_is_definite() -> None:
    transaction = start(Level.SERIAL, b"x" * 70 + b"\r\n" + b"y\r\n" * CHUNK)
    converse(transaction, b"250 ok\r\n", b"250 ok\r\n")
    transaction.receive(b"354 go\r\n")
    transaction.next_octets()
    transaction.receive(b"552 5.3.4 too m")
    assert transaction.end is None
    transaction.receive(b"uch\r\n")
    assert transaction.end == Refused(Command.MESSAGE, Reply(552, "5.3.4", "too much"), in_sync=False)
    assert not transaction.is_committed


# What is no answer at all


@pytest.mark.parametrize("octets", [b"250 ok\r\n", b"421 bye\r\n", b"2", b"x"])
def test_octets_before_the_first_command_break_it(octets: bytes) -> None:
    transaction = start(Level.PIPELINING)
    transaction.receive(octets)
    assert is_broken(transaction)
    assert not transaction.has_octets


@pytest.mark.parametrize(
    ("level", "replies"),
    [
        (Level.SERIAL, [b"354 go\r\n"]),
        (Level.SERIAL, [b"250 ok\r\n250 ok\r\n"]),
        (Level.SERIAL, [b"250 ok\r\n2"]),
        (Level.SERIAL, [b"250 ok\r\n", b"354 go\r\n"]),
        (Level.SERIAL, [b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n"]),
        (Level.SERIAL, [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n250 premature\r\n"]),
        (Level.PIPELINING, [b"354 go\r\n250 ok\r\n250 ok\r\n"]),
        (Level.PIPELINING, [b"250 ok\r\n250 ok\r\n250 ok\r\n"]),
        (Level.PIPELINING, [b"250 ok\r\n250 ok\r\n354 go\r\n250 premature\r\n"]),
        (Level.PIPELINING, [b"250 ok\r\n250 ok\r\n354 go\r\n2"]),
        (Level.PIPELINING, [b"250 stray\r\n250 ok\r\n250 ok\r\n354 go\r\n"]),
        (Level.PIPELINING, [b"250 ok\r\n", b"25 ok\r\n"]),
        (Level.PIPELINING, [b"250 ok\r\n", b"HTTP/1.1 400 Bad Request\r\n"]),
    ],
)
def test_what_is_out_of_place_before_the_message_breaks_it_unsent(level: Level, replies: list[bytes]) -> None:
    transaction = start(level)
    converse(transaction, *replies)
    assert is_broken(transaction)
    assert not transaction.has_octets


@pytest.mark.parametrize(
    ("level", "replies"),
    [
        (Level.SERIAL, b"250 ok\r\n250 extra\r\n"),
        (Level.SERIAL, b"250 ok\r\n421 closing\r\n"),
        (Level.SERIAL, b"354 go on\r\n"),
        (Level.SERIAL, b"25 ok\r\n"),
        (Level.SERIAL, b"250 ok\n"),
        (Level.SERIAL, b"250-half\r\n550 other\r\n"),
        (Level.SINGLE_FLIGHT, b"354 go\r\n250 ok\r\n250 ok\r\n"),
        (Level.SINGLE_FLIGHT, b"250 stray\r\n250 ok\r\n250 ok\r\n250 ok\r\n"),
        (Level.SINGLE_FLIGHT, b"451 stray\r\n250 ok\r\n250 ok\r\n250 ok\r\n"),
        (Level.SINGLE_FLIGHT, b"250 ok\r\n250 ok\r\n250 ok\r\nx"),
        (Level.SINGLE_FLIGHT, b"250 ok\r\n250 ok\r\n250 ok\r\n250-"),
    ],
)
def test_what_is_out_of_place_after_the_message_leaves_it_unknown(level: Level, replies: bytes) -> None:
    transaction = start(level)
    converse(transaction, *([b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"] if level is Level.SERIAL else []), replies)
    assert is_broken(transaction, committed=True)
    assert transaction.end is not None
    assert isinstance(transaction.end, Broken)
    assert transaction.end.stage is Stage.MESSAGE
    assert transaction.end.blames_level is (level is not Level.SERIAL)


def test_a_yes_in_the_middle_of_a_message_breaks_it_unsent() -> None:
    for octets in (b"250 ok\r\n", b"2", b"354 "):
        transaction = start(Level.SERIAL, b"y\r\n" * CHUNK)
        converse(transaction, b"250 ok\r\n", b"250 ok\r\n")
        transaction.receive(b"354 go\r\n")
        transaction.next_octets()
        transaction.receive(octets)
        assert is_broken(transaction)


def test_nothing_that_comes_after_the_end_changes_it() -> None:
    transaction = start(Level.PIPELINING)
    converse(transaction, b"550 no\r\n503 no\r\n503 no\r\n")
    end = transaction.end
    transaction.receive(b"250 ok\r\n")
    transaction.receive(b"garbage")
    transaction.lose(Fault.LOST, "closed the connection")
    assert transaction.end is end


# When the connection breaks


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.SILENT])
@pytest.mark.parametrize("level", LEVELS)
def test_a_connection_that_breaks_before_the_message_left_has_sent_nothing(level: Level, fault: Fault) -> None:
    transaction = start(level)
    if level is not Level.SINGLE_FLIGHT:
        drain(transaction)
        transaction.receive(b"250 ok\r\n")
    transaction.lose(fault, "closed the connection")
    assert is_broken(transaction, fault)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.SILENT])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("partial", [b"", b"250 o"])
def test_a_connection_that_breaks_after_the_message_left_leaves_it_unknown(
    level: Level, fault: Fault, partial: bytes
) -> None:
    head = [b"250 ok\r\n", b"250 ok\r\n"] + [b"354 go\r\n"] * (level is not Level.SINGLE_FLIGHT)
    transaction = start(level)
    converse(transaction, *head)
    if partial:
        transaction.receive(partial)
    transaction.lose(fault, "closed the connection")
    assert is_broken(transaction, fault, committed=True)


def test_silence_in_a_flight_blames_the_level_and_after_the_text_does_not() -> None:
    flight = start(Level.PIPELINING)
    converse(flight, b"250 ok\r\n")
    text = start(Level.PIPELINING)
    converse(text, b"250 ok\r\n250 ok\r\n354 go\r\n")
    for transaction, blamed in ((flight, True), (text, False)):
        transaction.lose(Fault.SILENT, "did not answer")
        assert isinstance(transaction.end, Broken)
        assert transaction.end.blames_level is blamed


@pytest.mark.parametrize(
    ("reset", "replies", "command"),
    [
        (False, b"550 5.7.1 sender\r\n", Command.MAIL),
        (False, b"250 ok\r\n550 5.1.1 who\r\n", Command.RCPT),
        (True, b"421 4.4.2 timeout\r\n", Command.RSET),
        (True, b"451 4.4.2 timeout\r\n", Command.RSET),
        (True, b"250 ok\r\n421 closing\r\n", Command.MAIL),
    ],
)
def test_a_flight_whose_sender_or_recipient_was_refused_is_refused_though_the_connection_breaks(
    reset: bool,
    replies: bytes,
    command: Command,
) -> None:
    transaction = start(Level.SINGLE_FLIGHT, reset=reset)
    converse(transaction, replies)
    assert transaction.end is None
    transaction.lose(Fault.LOST, "closed the connection")
    assert isinstance(transaction.end, Refused)
    assert transaction.end.command is command
    assert not transaction.end.in_sync


@pytest.mark.parametrize("replies", [b"451 4.3.0 what\r\n", b"421 stray\r\n250 ok\r\n"])
def test_a_flight_whose_replies_are_not_in_their_places_is_unknown_when_the_connection_breaks(replies: bytes) -> None:
    transaction = start(Level.SINGLE_FLIGHT, reset=True)
    converse(transaction, replies)
    transaction.lose(Fault.LOST, "closed the connection")
    assert is_broken(transaction, Fault.LOST, committed=True)


# The last octet


def test_only_the_last_chunk_of_a_large_message_commits() -> None:
    message = b"0123456789abcdef\r\n" * 8000
    transaction = start(Level.PIPELINING, message)
    converse(transaction)
    transaction.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    sizes = []
    while transaction.has_octets:
        assert not transaction.is_committed
        commits = transaction.next_commits
        sizes.append(len(transaction.next_octets()))
        assert transaction.is_committed is commits
    assert transaction.is_committed
    assert sizes[:-1] == [CHUNK] * (len(sizes) - 1)
    assert sum(sizes) == len(message) + 3


def test_a_single_flight_commits_with_its_first_write() -> None:
    transaction = start(Level.SINGLE_FLIGHT)
    assert transaction.next_commits
    transaction.next_octets()
    assert transaction.is_committed
    assert not transaction.has_octets


# Against a reference model


def model(level: Level, reset: bool, codes: list[int]) -> tuple[str, Command | None, int]:  # noqa: PLR0911
    """Tell the end, by its simplest description, of a server that answers with these codes, then closes.

    Returns:
        Which end, which command was refused, and how many replies were read.
    """
    first = [Command.RSET] * reset + [Command.MAIL, Command.RCPT]
    flights = {
        Level.SERIAL: [[command] for command in [*first, Command.DATA, Command.MESSAGE]],
        Level.PIPELINING: [[*first, Command.DATA], [Command.MESSAGE]],
        Level.SINGLE_FLIGHT: [[*first, Command.MESSAGE]],
    }[level]
    read = 0
    for flight in flights:
        committed = Command.MESSAGE in flight
        refused: list[tuple[Command, int]] = []
        positive_after_refusal = False
        for command in flight:
            if read == len(codes):
                final = refused and (refused[0][0] is not Command.RSET or refused[0][1] == 421)
                if refused and (not committed or (final and not positive_after_refusal)):
                    return "refused", refused[0][0], read
                return "unknown" if committed else "lost", None, read
            code = codes[read]
            read += 1
            digit = code // 100
            if digit == (3 if command is Command.DATA else 2):
                positive_after_refusal |= bool(refused) and digit == 2
                if command is Command.MESSAGE and refused:
                    return "unknown", None, read
            elif digit in {2, 3} or (command is Command.RSET and digit == 5):
                return "unknown" if committed else "irregular", None, read
            else:
                refused.append((command, code))
                if code == 421 and not committed:
                    return "refused", refused[0][0], read
        if refused:
            return "refused", refused[0][0], read
    return "accepted", None, read


def name(end: object) -> tuple[str, Command | None]:
    match end:
        case Accepted():
            return "accepted", None
        case Refused(command=command):
            return "refused", command
        case Broken(is_committed=True):
            return "unknown", None
        case Broken(fault=Fault.IRREGULAR):
            return "irregular", None
        case _:
            return "lost", None


_CODES = st.lists(st.sampled_from([250, 250, 250, 251, 354, 354, 421, 451, 500, 503, 550]), max_size=6)


@settings(deadline=None, max_examples=600)
@given(level=st.sampled_from(LEVELS), reset=st.booleans(), codes=_CODES)
def test_agrees_with_the_model_for_replies_one_by_one(level: Level, reset: bool, codes: list[int]) -> None:
    transaction = start(level, reset=reset)
    drain(transaction)
    read = 0
    while transaction.end is None and read < len(codes):
        transaction.receive(b"%d some text\r\n" % codes[read])
        read += 1
        drain(transaction)
    transaction.lose(Fault.LOST, "closed the connection")
    end, command, expected_read = model(level, reset, codes)
    assert (*name(transaction.end), read) == (end, command, expected_read)


_SEGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [b"250 ok\r\n", b"354 go\r\n", b"421 bye\r\n", b"550 no\r\n", b"250-ok\r\n", b"250 ", b"x", b"\r\n"]
        ),
        st.binary(max_size=6),
    ),
    max_size=10,
)


@settings(deadline=None, max_examples=600)
@given(level=st.sampled_from(LEVELS), reset=st.booleans(), segments=_SEGMENTS, large=st.booleans(), data=st.data())
def test_whatever_a_server_sends_the_truth_is_kept(
    level: Level,
    reset: bool,
    segments: list[bytes],
    large: bool,
    data: st.DataObject,
) -> None:
    message = b"0123456789abcdef\r\n" * 8000 if large else MESSAGE
    transaction = start(level, message, reset=reset)
    written = b""
    for segment in segments:
        for _ in range(data.draw(st.integers(0, 4))):
            if transaction.has_octets:
                written += transaction.next_octets()
        transaction.receive(segment)
    transaction.lose(Fault.LOST, "closed the connection")

    positive = {command for command, reply in transaction.replies if reply.is_positive}
    whole_message_left = written.endswith((b"\r\n.\r\n", BDAT))
    assert transaction.is_committed is whole_message_left
    end = transaction.end
    if isinstance(end, Accepted):
        assert {Command.MAIL, Command.RCPT, Command.MESSAGE} <= positive
        assert whole_message_left
        assert len(transaction.replies) == len({command for command, _ in transaction.replies})
    if isinstance(end, Refused):
        assert Command.MESSAGE not in positive
        assert end.reply.is_transient or end.reply.is_permanent
    if isinstance(end, Broken):
        assert end.is_committed is whole_message_left
    if level is not Level.SINGLE_FLIGHT and b"abcdef" in written:
        assert any(command is Command.DATA and reply.is_intermediate for command, reply in transaction.replies)
    assert transaction.has_octets is False
