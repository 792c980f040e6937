from __future__ import annotations

import pytest

from smtpconnector_server.message.custom_header import HeaderError, check_header_name, check_header_value


@pytest.mark.parametrize(
    "name", ["X-Test", "x", "List-Unsubscribe", "X-SMTPAPI", "In-Reply-To", "X" * 64, "Precedence"]
)
def test_a_free_name_is_accepted(name: str) -> None:
    check_header_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "X A",
        "X:A",
        "X-A\r\nBcc",
        "Bcc ",
        " X",
        "X\n",
        "X\x00",
        "X_A",
        "X.A",
        "X\u00e9",
        "X\uff21",
        "X" * 65,
        *("To", "to", "tO", "Cc", "Bcc", "BCC", "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID"),
        *("message-id", "MIME-Version", "Auto-Submitted", "Return-Path", "Received", "DKIM-Signature"),
        *("Content-Type", "content-transfer-encoding", "Content-X", "Resent-To", "ARC-Seal", "arc-x"),
    ],
)
def test_a_name_that_is_none_or_not_free_is_refused(name: str) -> None:
    with pytest.raises(HeaderError):
        check_header_name(name)


@pytest.mark.parametrize(
    "value",
    ["", "x", "x" * 900, "\u00e9" * 4096, "a b" * 1365, '{"category": ["a", "b"]}', "<https://x.example/?a=?b>"],
)
def test_a_value_that_stays_on_its_lines_is_accepted(value: str) -> None:
    check_header_value(value)


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: e@e.e", "a\nb", "a\rb", "a\x00b", "a\tb", "a\x7f", "a\u2028b", "a\x85b", "a\ud800", "a\u202eb"]
)
def test_a_value_that_could_leave_its_line_is_refused(value: str) -> None:
    with pytest.raises(HeaderError) as raised:
        check_header_value(value)

    assert value not in str(raised.value)


def test_the_length_of_a_value_is_bounded() -> None:
    check_header_value("ab " * 1365 + "a")
    with pytest.raises(HeaderError, match="4096"):
        check_header_value("ab " * 1365 + "ab")


def test_a_value_that_no_line_can_hold_is_refused() -> None:
    check_header_value("a " + "x" * 997)
    with pytest.raises(HeaderError, match="998"):
        check_header_value("a " + "x" * 998)
