from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.smtp.redaction import Redactor
from smtpconnector_server.smtp.reply import Reply

_USER, _PASSWORD = "sender@example.com", "correct horse battery"
_PLAIN = b64encode(f"\0{_USER}\0{_PASSWORD}".encode()).decode()


@pytest.mark.parametrize(
    "echo",
    [
        _PASSWORD,
        _PASSWORD.upper(),
        _PASSWORD[:12],
        b64encode(_PASSWORD.encode()).decode(),
        _PLAIN,
        _PLAIN[20:],
        _PLAIN[:-14] + " " + _PLAIN[-14:],
        b64encode(_USER.encode()).decode(),
        _USER,
    ],
)
def test_takes_an_echoed_credential_out(echo: str) -> None:
    redactor = Redactor(_PASSWORD, names=(_USER,))
    reply = redactor.clean(Reply(535, "5.7.8", f"bad line: {echo} (see https://help.example)"))
    assert "***" in reply.text
    for start in range(len(echo) - 7):
        piece = echo[start : start + 8]
        assert piece not in reply.text or piece not in _PASSWORD + b64encode(_PASSWORD.encode()).decode()
    assert reply.text.startswith("bad line: ")
    assert reply.text.endswith(" (see https://help.example)")


def test_takes_further_names_out_in_any_case() -> None:
    reply = Redactor().clean(Reply(550, "5.1.1", "<Alice@Example.ORG>: unknown alice@example.org"), "alice@example.org")
    assert reply.text == "<***>: unknown ***"


def test_leaves_a_harmless_reply_as_it_is() -> None:
    reply = Reply(250, "2.0.0", "Ok: queued as 4XyZ1")
    assert Redactor(_PASSWORD, names=(_USER,)).clean(reply, "a@b.example", "") is reply


def test_takes_a_short_password_out_whole() -> None:
    assert Redactor("abc").clean(Reply(535, "", "no abc here")).text == "no *** here"


def test_does_nothing_for_an_empty_secret() -> None:
    reply = Reply(535, "", "no")
    assert Redactor("").clean(reply) is reply


@settings(deadline=None, max_examples=150)
@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    before=st.binary(max_size=5),
    after=st.binary(max_size=5),
)
def test_no_piece_of_an_encoded_secret_is_left_whatever_stands_beside_it(
    secret: str, before: bytes, after: bytes
) -> None:
    encoded = b64encode(before + secret.encode() + after).decode()
    text = Redactor(secret).clean(Reply(535, "", encoded)).text
    # What the neighbours of the secret have a part in may stay.
    assert len(text.replace("***", "")) <= len(b64encode(before)) + len(b64encode(after)) + 4


@settings(deadline=None, max_examples=150)
@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    start=st.integers(0, 52),
    before=st.text("xy ", max_size=9),
)
def test_every_piece_of_a_secret_is_found_wherever_it_begins(secret: str, start: int, before: str) -> None:
    piece = secret[min(start, len(secret) - 8) :][:8]
    assert piece not in Redactor(secret).clean(Reply(535, "", f"{before}{piece} end")).text
