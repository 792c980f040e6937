from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.smtp.reader import MAX_LINE, MAX_LINES, MAX_REPLY, ProtocolViolation, ReplyReader
from smtpconnector_server.smtp.reply import Reply


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 2.0.0 Queued\r\n", Reply(250, "2.0.0", "Queued")),
        (b"250\r\n", Reply(250)),
        (b"250 \r\n", Reply(250)),
        (b"220 mail.example.com ESMTP\r\n", Reply(220, "", "mail.example.com ESMTP")),
        (b"550-5.1.1 No such user\r\n550 5.1.1 here\r\n", Reply(550, "5.1.1", "No such user here")),
        (b"250-first\r\n250-\r\n250 last\r\n", Reply(250, "", "first  last")),
        (b"250 5.0.0 disagrees\r\n", Reply(250, "", "5.0.0 disagrees")),
        (b"535 5.7.8\r\n", Reply(535, "5.7.8")),
        (b"250 2.0.0.1 no code\r\n", Reply(250, "", "2.0.0.1 no code")),
        (b"354 \xe5\xbc\x80\xe5\xa7\x8b\r\n", Reply(354, "", "??")),
        (b"250 a\tb\r\n", Reply(250, "", "a b")),
    ],
)
def test_reads_a_reply(octets: bytes, reply: Reply) -> None:
    assert ReplyReader().feed(octets) == [reply]


@pytest.mark.parametrize(
    "octets",
    [
        b"25 ok\r\n",
        b"+25 ok\r\n",
        b"2_5 ok\r\n",
        b"-25 ok\r\n",
        b"2500 ok\r\n",
        b"999 ok\r\n",
        b"150 ok\r\n",
        b"250ok\r\n",
        b"250\tok\r\n",
        b"ok\r\n",
        b"\r\n",
        b"\n",
        b" 250 ok\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"250-first\r\n550 second\r\n",
        b"250-first\r\n250\r\r\n",
        b"250 ok\n",
        b"250 o\rk\r\n",
        b"250 o\x00k\r\n",
        b"250 \x1b[31mred\r\n",
        "\uff12\uff15\uff10 ok\r\n".encode(),
        b"".join([b"2", b"50 ok\r\n", b"x"]),
    ],
)
def test_refuses_what_is_not_a_reply(octets: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        ReplyReader().feed(octets)


def test_tells_the_octet_that_begins_no_reply_before_its_line_ends() -> None:
    with pytest.raises(ProtocolViolation) as raised:
        ReplyReader().feed(b"\x16\x03\x01")
    assert raised.value.first_octet == 0x16


def test_shows_nothing_of_what_was_sent_in_a_violation() -> None:
    with pytest.raises(ProtocolViolation) as raised:
        ReplyReader().feed(b"250-hunter2\r\n551 hunter2\r\n")
    assert "hunter2" not in str(raised.value)


def test_takes_a_line_of_the_longest_length_and_none_longer() -> None:
    longest = b"250 " + b"x" * (MAX_LINE - 6) + b"\r\n"
    assert ReplyReader().feed(longest)[0].code == 250
    with pytest.raises(ProtocolViolation):
        ReplyReader().feed(b"250 x" + longest[4:])


def test_gives_up_on_a_line_without_end_before_it_fills_the_memory() -> None:
    reader = ReplyReader()
    reader.feed(b"250 " + b"x" * 1024)
    with pytest.raises(ProtocolViolation):
        reader.feed(b"x" * 1024)


def test_takes_as_many_lines_as_allowed_and_no_more() -> None:
    assert ReplyReader().feed(b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n")[0].code == 250
    with pytest.raises(ProtocolViolation):
        ReplyReader().feed(b"250-x\r\n" * MAX_LINES)


def test_gives_up_on_a_reply_larger_than_allowed() -> None:
    line = b"250-" + b"x" * 1000 + b"\r\n"
    with pytest.raises(ProtocolViolation):
        ReplyReader().feed(line * (MAX_REPLY // len(line) + 1))


def test_counts_the_size_of_each_reply_anew() -> None:
    line = b"250 " + b"x" * 1000 + b"\r\n"
    assert len(ReplyReader().feed(line * 100)) == 100


def test_knows_whether_it_stands_between_replies() -> None:
    reader = ReplyReader()
    assert reader.begun_with == b""
    reader.feed(b"25")
    assert reader.begun_with == b"2"
    reader.feed(b"0-more to come\r\n")
    assert reader.begun_with == b"2"
    reader.feed(b"250 end\r\n")
    assert reader.begun_with == b""


def test_keeps_256_characters_of_text() -> None:
    assert len(ReplyReader().feed(b"250 " + b"x" * 500 + b"\r\n")[0].text) == 256


_REPLIES = st.lists(
    st.tuples(st.integers(200, 599), st.lists(st.text("abc .:-é\t", max_size=20), min_size=1, max_size=4)), max_size=5
)


@settings(deadline=None, max_examples=100)
@given(_REPLIES, st.data())
def test_does_not_care_how_the_octets_are_cut(replies: list[tuple[int, list[str]]], data: st.DataObject) -> None:
    octets = b"".join(
        f"{code}{' ' if number == len(lines) - 1 else '-'}{line}\r\n".encode()
        for code, lines in replies
        for number, line in enumerate(lines)
    )
    whole = ReplyReader().feed(octets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    reader = ReplyReader()
    pieces = [
        reply
        for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)
        for reply in reader.feed(octets[start:end])
    ]
    assert pieces == whole
    assert [reply.code for reply in whole] == [code for code, _ in replies]
    assert reader.begun_with == b""


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_takes_any_octets_without_another_error(octets: bytes) -> None:
    try:
        replies = ReplyReader().feed(octets)
    except ProtocolViolation:
        return
    assert all(200 <= reply.code <= 599 and reply.text.isprintable() and reply.text.isascii() for reply in replies)
