from __future__ import annotations

import binascii
import email.header
import email.policy
import json
import re
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.address import Address, AddressError, Mailbox, parse_address, parse_mailbox
from smtpconnector_server.message.encoded_word import encode_words
from smtpconnector_server.message.header import encode_text, format_mailbox, header_line
from smtpconnector_server.message.text_rule import DISPLAY_NAME, HEADER_TEXT

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "mailbox-format.json").read_text(encoding="utf-8"))[
    "vectors"
]
ENCODED_WORD = re.compile(r"=\?UTF-8\?([BQ])\?([!-<>@-~]*(?:=[0-9A-F]{2}[!-<>@-~]*)*={0,2})\?=")

header_text = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300).filter(
    lambda text: HEADER_TEXT.problem(text) is None
)
tricky_text = st.lists(
    st.sampled_from(
        ["=?", "?=", "=?utf-8?q?", "=0d=0a", " ", "  ", "a", '"', "\\", "<", ">", ",", "é", "😀", "@", "x" * 80]
    )
).map("".join)


def given_address(text: str) -> Address:
    """Return a vector's address; where its local part needs quotes it is given with them, for we do not add any."""
    local, _, domain = text.rpartition("@")
    return parse_address(f'"{local}"@{domain}' if ";" in local else text)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_mailbox_is_written_as_nodemailer_writes_it(vector: dict[str, Any]) -> None:
    # One that would be refused is here too: the encoder alone lets no control character through either.
    assert format_mailbox(Mailbox(vector["name"], given_address(vector["address"]))) == vector["expected"]


def test_a_name_with_a_control_character_never_comes_to_be_written() -> None:
    with pytest.raises(AddressError):
        parse_mailbox("NUL\x00x <a@b.c>")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Your code is 123456", "Your code is 123456"),
        ('say "hi"', 'say "hi"'),
        ("", ""),
        (
            "=?utf-8?q?a=0d=0aBcc:_e=40e?=",
            "=?UTF-8?Q?=3D=3Futf-8=3Fq=3Fa=3D0d=3D0aBcc=3A=5Fe?= =?UTF-8?Q?=3D40e=3F=3D?=",
        ),
        ("a =? b", "=?UTF-8?Q?a_=3D=3F_b?="),
        (" x", "=?UTF-8?Q?_x?="),
        ("x ", "=?UTF-8?Q?x_?="),
        ("J\u00f5geva", "=?UTF-8?Q?J=C3=B5geva?="),
        ("\u9a8c\u8bc1\u7801 1", "=?UTF-8?B?6aqM6K+B56CBIDE=?="),
    ],
)
def test_text_that_is_not_plain_is_encoded(text: str, value: str) -> None:
    assert encode_text(text) == value


def unfold(field: str) -> str:
    assert field.endswith("\r\n")
    lines = field[:-2].split("\r\n")
    assert all(line[0] == " " and line.strip(" ") for line in lines[1:])
    return "".join(lines)


def decode_words(value: str) -> str:
    return str(email.header.make_header(email.header.decode_header(value)))


@settings(deadline=None, max_examples=300)
@given(st.one_of(header_text, tricky_text))
def test_a_text_is_read_back_as_it_was_written(text: str) -> None:
    field = header_line("Subject", encode_text(text))

    message = BytesParser(policy=email.policy.default).parsebytes(field.encode("ascii") + b"\r\n")
    assert message.keys() == ["Subject"]
    assert message["Subject"] == text
    assert unfold(field) == f"Subject: {encode_text(text)}"


@settings(deadline=None, max_examples=200)
@given(header_text.filter(bool))
def test_every_encoded_word_is_short_and_holds_whole_characters(text: str) -> None:
    decoded = ""
    for word in encode_words(text).split(" "):
        match = ENCODED_WORD.fullmatch(word)
        assert match
        assert len(word) <= 52
        octets = (
            binascii.a2b_base64(match[2], strict_mode=True)
            if match[1] == "B"
            else binascii.a2b_qp(match[2], header=True)
        )
        decoded += octets.decode("utf-8")
    assert decoded == text


@settings(deadline=None, max_examples=200)
@given(st.one_of(header_text, tricky_text))
def test_lines_with_encoded_words_have_at_most_76_characters(text: str) -> None:
    field = header_line("X-" + "A" * 18, encode_words(text or "x"))

    assert max(map(len, field.split("\r\n"))) <= 76


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=60), st.integers(1, 90))), st.booleans())
def test_plain_text_is_folded_at_its_blanks(words: list[tuple[str, int]], opaque: bool) -> None:
    text = "".join(word + " " * blanks for word, blanks in words).strip(" ")
    field = header_line("Subject", text, opaque=opaque)

    assert unfold(field) == f"Subject: {text}"
    limit = 998 if opaque else 76
    for line in field[:-2].split("\r\n"):
        assert len(line) <= limit or " " not in line.removeprefix("Subject: ").strip(" ")
        assert not line.endswith(" ") or line == "Subject: "


def test_plain_text_that_may_not_begin_a_line_is_not_folded() -> None:
    text = "x" * 70 + " MAIL FROM:<a@b.c> " + "y" * 150

    assert header_line("Subject", text, opaque=True) == f"Subject: {text}\r\n"


def test_an_address_that_looks_encoded_lets_no_word_of_a_name_begin_a_line() -> None:
    mailbox = parse_mailbox(f'"{"x" * 60}, QUIT " <a=?b@c.example>')

    assert header_line("From", format_mailbox(mailbox), opaque=True).count("\r\n") == 1


def test_a_word_too_long_for_a_line_is_left_whole() -> None:
    assert header_line("X", "y" * 100) == f"X: {'y' * 100}\r\n"
    assert header_line("X", f"{'y' * 100} z") == f"X: {'y' * 100}\r\n z\r\n"


names = st.one_of(
    st.text(max_size=64), st.text('ab ,;:<>@"\\()[]=?_.\u00e9', max_size=64), tricky_text.map(lambda text: text[:64])
).filter(lambda name: DISPLAY_NAME.problem(name) is None)


@settings(deadline=None, max_examples=400)
@given(names, st.sampled_from(["a@b.example", '"c;d@x"@b.example', "o'brien@b.example", "a@xn--mnchen-3ya.de"]))
def test_no_name_breaks_out_of_its_mailbox(name: str, address: str) -> None:
    field = header_line("From", format_mailbox(Mailbox(name, parse_address(address))))

    message = BytesParser(policy=email.policy.default).parsebytes(field.encode("ascii") + b"\r\n")
    assert message.keys() == ["From"]
    (read,) = message["From"].addresses
    assert read.domain == address.rpartition("@")[2]
    assert read.username == address.rpartition("@")[0].strip('"')
    assert not message["From"].defects


@settings(deadline=None, max_examples=200)
@given(names)
def test_a_name_is_read_back_as_it_was_written(name: str) -> None:
    value = format_mailbox(Mailbox(name, parse_address("a@b.example")))

    phrase = value.removesuffix("a@b.example").removesuffix("<a@b.example>").removesuffix(" ")
    if phrase.startswith('"'):
        assert re.sub(r"\\(.)", r"\1", phrase[1:-1]) == name
    else:
        assert decode_words(phrase) == name


def test_an_encoded_word_in_a_name_stays_text() -> None:
    name = "=?utf-8?q?x=22=3Cevil=40e.test=3E=2C_y?="
    value = format_mailbox(parse_mailbox(f"{name} <a@x.example>"))

    (read,) = BytesParser(policy=email.policy.default).parsebytes(f"From: {value}\r\n\r\n".encode())["From"].addresses
    assert read.addr_spec == "a@x.example"
    assert decode_words(value.removesuffix(" <a@x.example>")) == name


FORBIDDEN = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xD800]


@pytest.mark.parametrize("code", FORBIDDEN, ids=hex)
def test_no_header_text_may_hold_what_ends_or_reorders_a_line(code: int) -> None:
    assert HEADER_TEXT.problem(f"a{chr(code)}b")
    assert DISPLAY_NAME.problem(f"a{chr(code)}b")


@pytest.mark.parametrize("code", [*range(0x200B, 0x2010), 0xFEFF], ids=hex)
def test_joiners_may_stand_in_a_subject_but_not_in_a_name(code: int) -> None:
    assert HEADER_TEXT.problem(f"a{chr(code)}b") is None
    assert DISPLAY_NAME.problem(f"a{chr(code)}b")
