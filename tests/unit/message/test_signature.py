from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.dkim_reader import record, valid_signatures
from harness.private_keys import ed25519_pem, rsa_pem
from smtpconnector_server.message.address import parse_address, parse_mailbox
from smtpconnector_server.message.mail import Composer, Mail
from smtpconnector_server.message.signature import SIGNED, SignatureAlgorithm, Signer, SigningKey
from smtpconnector_server.message.template import ContentType, Template, compile_template
from smtpconnector_server.smtp.transaction import can_fly_single

RECORDS = {"mail._domainkey.example.com": record(rsa_pem()), "ed._domainkey.example.com": record(ed25519_pem())}


def rsa_key(**changes: Any) -> SigningKey:
    key = serialization.load_pem_private_key(rsa_pem().encode(), None)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    made = SigningKey(domain="example.com", selector="mail", algorithm=SignatureAlgorithm.RSA, private_key=pem.decode())
    return replace(made, **changes)


def ed25519_key(**changes: Any) -> SigningKey:
    key: Any = serialization.load_pem_private_key(ed25519_pem().encode(), None)
    made = SigningKey(
        domain="example.com",
        selector="ed",
        algorithm=SignatureAlgorithm.ED25519,
        private_key=base64.b64encode(key.private_bytes_raw()).decode(),
    )
    return replace(made, **changes)


def mail(
    *,
    headers: tuple[tuple[str, str], ...] = (),
    opaque: bool = False,
    content: str = "Your code is 123456.  \n\n\n",
    to: str = "ada@example.org",
) -> Mail:
    template = Template(usage_type="SignIn", content_type=ContentType.HTML, subject="Grüße", content=content)
    return Composer(parse_mailbox("Jögeva <a@example.com>"), [parse_mailbox("b@example.com")], headers).compose(
        compile_template(template),
        parse_address(to),
        {"code": "123456"},
        date=1_795_219_200,
        message_id="<0123456789abcdef@example.com>",
        opaque=opaque,
    )


def signed_names(octets: bytes) -> list[str]:
    """What the topmost signature covers."""
    found = re.search(rb"; h=(.*?);", octets.split(b"\r\n\r\n")[0].replace(b"\r\n ", b" "))
    assert found is not None
    return [name.strip() for name in found[1].decode().split(":")]


@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("to", ["ada@example.org", "用户@例子.example"])
def test_every_key_makes_a_good_signature(opaque: bool, to: str) -> None:
    plain = mail(opaque=opaque, to=to)
    signed = Signer([rsa_key(), ed25519_key()]).sign(plain)
    assert signed.octets.endswith(plain.octets)
    assert valid_signatures(signed.octets, RECORDS) == [True, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Your code is", b"Your code was"),
        (b"Subject: ", b"Subject: Re: "),
        (b"Reply-To: b@", b"Reply-To: c@"),
        (b"From: ", b"From: evil@example.org\r\nFrom: "),
        (b"To: ada@", b"To: eve@"),
        (b"Content-Type: text/html", b"Content-Type: text/plain"),
        (b'OTP-Token: "1', b'OTP-Token: "2'),
        (b"List-Unsubscribe-Post: List", b"List-Unsubscribe-Post: Lost"),
    ],
)
def test_what_was_changed_on_the_way_is_noticed(old: bytes, new: bytes) -> None:
    headers = (
        ("OTP-Token", '"1"; origin="https://x.example"'),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    )
    signed = Signer([ed25519_key()]).sign(mail(headers=headers)).octets
    assert signed.count(old) == 1
    assert valid_signatures(signed, RECORDS) == [True]
    assert valid_signatures(signed.replace(old, new), RECORDS) == [False]


def test_it_survives_what_relays_do_to_blanks() -> None:
    signed = Signer([ed25519_key()]).sign(mail()).octets
    head, _, body = signed.partition(b"\r\n\r\n")
    relayed = head.replace(b"\r\n ", b"\r\n\t").replace(b"From: ", b"FROM:  ") + b"\r\n\r\n" + body + b"\r\n\r\n"
    assert valid_signatures(relayed, RECORDS) == [True]


def test_names_that_are_asked_for_are_signed_where_they_occur_and_from_twice() -> None:
    tagged = mail(headers=(("X-Tag", "1"), ("X-Tag", "2"), ("X-Other", "3")))
    signed = Signer([ed25519_key()], {"from", "x-tag", "x-absent"}).sign(tagged)
    assert signed_names(signed.octets) == ["from", "x-tag", "x-tag", "from"]
    assert valid_signatures(signed.octets, RECORDS) == [True]
    without_subject = Signer([ed25519_key()], SIGNED - {"subject"}).sign(tagged)
    assert "subject" not in signed_names(without_subject.octets)


def test_an_opaque_mail_stays_opaque() -> None:
    plain = mail(opaque=True)
    assert can_fly_single(plain.octets)
    signed = Signer([rsa_key(), ed25519_key()]).sign(plain)
    assert can_fly_single(signed.octets)
    assert signed.opaque


def test_a_key_is_in_no_repr() -> None:
    assert rsa_key().private_key[40:60] not in repr(rsa_key())
    assert rsa_key().private_key[40:60] not in repr(Signer([rsa_key()]))


NAMES = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,30}[a-z0-9_])?(\.[a-z0-9_]{1,20})?", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?\.[a-z]{2,20}", fullmatch=True)
HEADERS = st.lists(
    st.tuples(
        st.from_regex(r"X-[A-Za-z0-9-]{1,62}", fullmatch=True),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200),
    ),
    max_size=8,
)


@given(NAMES, DOMAINS, HEADERS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_receiver_finds_the_key_whatever_the_names(
    selector: str,
    domain: str,
    headers: list[tuple[str, str]],
    opaque: bool,
) -> None:
    key = ed25519_key(selector=selector, domain=domain)
    names = {"from", "subject", *(name.lower() for name, _ in headers)}
    signed = Signer([key], names).sign(mail(headers=tuple(headers), opaque=opaque))
    records = {f"{selector}._domainkey.{domain}": record(ed25519_pem())}
    assert valid_signatures(signed.octets, records) == [True]
    assert max(map(len, signed.octets.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("opaque", [False, True])
def test_names_of_the_greatest_length_are_found_too(opaque: bool) -> None:
    domain, selector = "x" * 52 + ".example.com", "s" * 64
    assert len(domain) == 64
    signed = Signer([ed25519_key(selector=selector, domain=domain)]).sign(mail(opaque=opaque))
    assert valid_signatures(signed.octets, {f"{selector}._domainkey.{domain}": record(ed25519_pem())}) == [True]
