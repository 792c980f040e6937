from __future__ import annotations

import base64
import quopri
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.message.body import TransferEncoding, encode_body

SMUGGLED = [
    "a\n.\nb",
    "a\r.\rb",
    "a\n.\r\nb",
    "a\r\n.\rb",
    "a\r\n.\nb",
    "a\r.\r\nb",
    "a\n..\nb",
    "a\r\n.\r\nMAIL FROM:<e@e.example>\r\n",
    "\r\n.\r\n",
    ".\r",
    ".",
    "\r",
    "\n\r",
    "\r\r\n",
    "a\x0b.\x0bb",
    "a\x85.\x85b",
    "a\u2028.\u2028b",
]
# What four lenient servers take for the end of a message: SMTP smuggling.
LENIENT_ENDS = [rb"\r\n\.\r\n", rb"\n\.\n", rb"\r\.\r", rb"(?<!\r)\n\.\r\n", rb"\r\n\.\r(?!\n)"]

body_text = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=400),
    st.text("\r\n. a=\té\x7f", max_size=200),
    st.lists(st.sampled_from(["a" * 70, "b" * 90, "\n", ".", " ", "QUIT", "RSET", "é", "字" * 30])).map("".join),
)


def canonical(text: str) -> str:
    text = re.sub("\r\n|\r|\n", "\r\n", text)
    return text if text.endswith("\r\n") else text + "\r\n"


def decode(encoding: TransferEncoding, encoded: bytes) -> str:
    if encoding is TransferEncoding.BASE64:
        return base64.b64decode(encoded).decode()
    if encoding is TransferEncoding.QUOTED_PRINTABLE:
        return quopri.decodestring(encoded).decode()
    return encoded.decode("ascii")


def assert_safe(encoded: bytes) -> None:
    assert encoded.isascii()
    assert encoded.endswith(b"\r\n")
    assert b"\x00" not in encoded
    assert b"\x7f" not in encoded
    lines = encoded.split(b"\r\n")
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    assert max(map(len, lines)) <= 76


@pytest.mark.parametrize("text", SMUGGLED)
@pytest.mark.parametrize("opaque", [False, True])
def test_a_smuggled_end_stays_inside_the_body(text: str, opaque: bool) -> None:
    encoding, encoded = encode_body(text.encode(), opaque=opaque)

    assert_safe(encoded)
    assert decode(encoding, encoded) == canonical(text)


@settings(deadline=None, max_examples=400)
@given(body_text, st.booleans())
def test_every_body_is_safe_and_read_back_as_it_was_written(text: str, opaque: bool) -> None:
    encoding, encoded = encode_body(text.encode(), opaque=opaque)

    assert_safe(encoded)
    assert decode(encoding, encoded) == canonical(text)
    # As DATA carries it: dots doubled, then the end.
    on_the_wire = b"DATA\r\n" + re.sub(rb"(?m)^\.", b"..", encoded) + b".\r\n"
    for end in LENIENT_ENDS:
        assert len(re.findall(end, on_the_wire)) == (end == LENIENT_ENDS[0])


@settings(deadline=None, max_examples=300)
@given(st.one_of(body_text, st.binary(max_size=30).map(lambda octets: octets.decode("latin-1"))))
def test_no_line_of_an_opaque_body_is_an_smtp_command(text: str) -> None:
    _, encoded = encode_body(text.encode(), opaque=True)
    lines = encoded.split(b"\r\n")[:-1]

    assert all(re.fullmatch(rb"[A-Za-z0-9+/=]+", line) for line in lines)
    assert all(len(line) == 76 for line in lines[:-1])
    assert lines[-1].endswith((b"0K", b"DQo=", b"Cg=="))


@pytest.mark.parametrize("command", [b"QUIT", b"RSET", b"NOOP", b"DATA", b"HELP", b"quit", b"RSETRSET"])
def test_a_text_whose_base64_is_a_command_does_not_end_as_one(command: bytes) -> None:
    _, encoded = encode_body(b"x" * 57 + base64.b64decode(command), opaque=True)

    assert encoded.split(b"\r\n")[-2].upper() != command.upper()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("", TransferEncoding.SEVEN_BIT),
        ("Your code is 123456.\n\tBye\n", TransferEncoding.SEVEN_BIT),
        ("x" * 76, TransferEncoding.SEVEN_BIT),
        ("x" * 77, TransferEncoding.QUOTED_PRINTABLE),
        ("x\x7f", TransferEncoding.QUOTED_PRINTABLE),
        ("1" * 77, TransferEncoding.BASE64),
        ("J\u00f5geva", TransferEncoding.QUOTED_PRINTABLE),
        ("\u60a8\u7684\u9a8c\u8bc1\u7801 123456", TransferEncoding.BASE64),
        ("\U0001f600ab", TransferEncoding.BASE64),
        ("\U0001f600abc", TransferEncoding.QUOTED_PRINTABLE),
    ],
)
def test_a_body_stays_as_readable_as_its_text_allows(text: str, encoding: TransferEncoding) -> None:
    assert encode_body(text.encode())[0] is encoding
    assert encode_body(text.encode(), opaque=True)[0] is TransferEncoding.BASE64


@pytest.mark.parametrize("length", range(70, 80))
@pytest.mark.parametrize("blank", [" ", "\t"])
def test_a_blank_at_the_end_of_a_full_line_makes_it_no_longer(length: int, blank: str) -> None:
    text = f"{'x' * length}{blank}\r\n{'y' * 80}\r\n"
    encoding, encoded = encode_body(text.encode())

    assert encoding is TransferEncoding.QUOTED_PRINTABLE
    assert_safe(encoded)
    assert decode(encoding, encoded) == text


def test_a_dot_alone_is_not_left_alone_in_quoted_printable() -> None:
    assert encode_body("é abc\r\n.\r\n".encode())[1] == b"=C3=A9 abc\r\n=2E\r\n"
