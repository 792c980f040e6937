"""What nodemailer's ``dkim`` takes, and the keys that nobody could sign with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.configuration import check, connector, errors, said
from harness.private_keys import ed25519_pem, encrypted, rsa_pem
from smtpconnector_server.message.signature import SignatureAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpconnector_server.config.model import Dkim


def key(**changes: Any) -> dict[str, Any]:
    return {"domainName": "example.com", "keySelector": "mail2026", "privateKey": ed25519_pem(), **changes}


def dkim(**options: Any) -> Dkim:
    made = connector(dkim=options).dkim
    assert made is not None
    return made


def numbers_of(pem: str) -> rsa.RSAPrivateNumbers:
    opened = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(opened, rsa.RSAPrivateKey)
    return opened.private_numbers()


def pem_of(numbers: rsa.RSAPrivateNumbers) -> str:
    """A key as it is, whether or not its numbers belong together."""
    made = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def weak_pem() -> str:
    """A key of some 570 bits, which the library no longer makes."""
    p, q, e = numbers_of(rsa_pem(1024)).p, 2**61 - 1, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    return pem_of(rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public))


@pytest.mark.parametrize("options", [None, {}, {"keys": []}, {"domainName": "", "privateKey": None}])
def test_nothing_said_means_no_signature(options: object) -> None:
    assert check(dkim=options).findings == ()
    assert connector(dkim=options).dkim is None


@pytest.mark.parametrize(
    ("pem", "algorithm"), [(rsa_pem, SignatureAlgorithm.RSA), (ed25519_pem, SignatureAlgorithm.ED25519)]
)
def test_one_key_stands_by_itself(pem: Callable[[], str], algorithm: SignatureAlgorithm) -> None:
    options = key(privateKey=pem(), domainName="Bücher.Example", hashAlgo="sha256")
    assert check(dkim=options).findings == ()
    (made,) = dkim(**options).keys
    assert (made.domain, made.selector, made.algorithm) == ("xn--bcher-kva.example", "mail2026", algorithm)


def test_several_keys_stand_in_a_list() -> None:
    made = dkim(keys=[key(privateKey=rsa_pem()), key(keySelector="ed.mail")])
    assert [each.selector for each in made.keys] == ["mail2026", "ed.mail"]
    assert dkim(keys=key()).keys == dkim(**key()).keys


def test_a_key_beside_the_list_is_said_to_count_for_nothing() -> None:
    assert said(check(dkim=key(keys=[key()]))) == [("WARNING", "dkim", "NO_EFFECT")]
    assert len(dkim(**key(keys=[key()])).keys) == 1


def test_an_encrypted_key_is_opened() -> None:
    closed = encrypted(rsa_pem(), "pass")
    assert dkim(**key(privateKey={"key": closed, "passphrase": "pass"})).keys == dkim(**key(privateKey=rsa_pem())).keys
    assert errors(check(dkim=key(privateKey=closed))) == [("dkim.privateKey.passphrase", "MISSING_FIELD")]
    wrong = {"key": closed, "passphrase": "canary"}
    assert errors(check(dkim=key(privateKey=wrong))) == [("dkim.privateKey.key", "INVALID_PRIVATE_KEY")]


def test_header_names_are_separated_by_colons() -> None:
    made = dkim(**key(headerFieldNames="From: Subject:date :", skipFields="List-Id"))
    assert (made.header_names, made.skipped_names) == (("from", "subject", "date"), ("list-id",))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"domainName": None}, ("dkim.domainName", "MISSING_FIELD")),
        ({"keySelector": ""}, ("dkim.keySelector", "MISSING_FIELD")),
        ({"privateKey": None}, ("dkim.privateKey", "MISSING_FIELD")),
        ({"domainName": "localhost"}, ("dkim.domainName", "INVALID_HOST")),
        ({"domainName": "example.com; l=0"}, ("dkim.domainName", "INVALID_HOST")),
        ({"domainName": "x" * 60 + ".example"}, ("dkim.domainName", "TOO_LARGE")),
        ({"domainName": "aübäcödße" * 5 + ".example"}, ("dkim.domainName", "TOO_LARGE")),
        ({"keySelector": "a b"}, ("dkim.keySelector", "INVALID_VALUE")),
        ({"keySelector": "a;"}, ("dkim.keySelector", "INVALID_VALUE")),
        ({"keySelector": ".a"}, ("dkim.keySelector", "INVALID_VALUE")),
        ({"privateKey": "canary"}, ("dkim.privateKey", "NOT_PEM")),
        ({"privateKey": "./key.pem"}, ("dkim.privateKey", "PATH_NOT_ALLOWED")),
        ({"privateKey": {"file": "key.pem"}}, ("dkim.privateKey.file", "NOT_SUPPORTED")),
        ({"privateKey": rsa_pem().replace("A", "B")}, ("dkim.privateKey", "INVALID_PRIVATE_KEY")),
        (
            {"privateKey": trustme.CA().private_key_pem.bytes().decode()},  # an elliptic curve
            ("dkim.privateKey", "INVALID_PRIVATE_KEY"),
        ),
        ({"hashAlgo": "sha1"}, ("dkim.hashAlgo", "INVALID_VALUE")),
        ({"headerFieldNames": "Subject:Date"}, ("dkim.headerFieldNames", "INVALID_VALUE")),
        ({"headerFieldNames": "From Subject"}, ("dkim.headerFieldNames", "INVALID_VALUE")),
        ({"headerFieldNames": "From:Received"}, ("dkim.headerFieldNames", "INVALID_VALUE")),
        ({"skipFields": "Date:FROM"}, ("dkim.skipFields", "INVALID_VALUE")),
        ({"keys": [key(), key(keySelector="a b")], "domainName": None}, ("dkim.keys[1].keySelector", "INVALID_VALUE")),
        ({"keys": [key()] * 5}, ("dkim.keys", "TOO_LARGE")),
    ],
)
def test_what_nobody_can_sign_with_is_an_error(changes: dict[str, Any], error: tuple[str, str]) -> None:
    assert error in errors(check(dkim=key(**changes)))


def test_the_strength_of_an_rsa_key_is_judged() -> None:
    assert said(check(dkim=key(privateKey=rsa_pem(1024)))) == [("WARNING", "dkim.privateKey", "WEAK_KEY")]
    assert errors(check(dkim=key(privateKey=weak_pem()))) == [("dkim.privateKey", "INVALID_PRIVATE_KEY")]
    assert errors(check(dkim=key(privateKey=rsa_pem(5120)))) == [("dkim.privateKey", "INVALID_PRIVATE_KEY")]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda numbers: {"dmp1": numbers.dmp1 + 2},
        lambda numbers: {"dmq1": numbers.dmq1 + 2 * (numbers.q - 1)},
        lambda numbers: {"iqmp": numbers.iqmp + 1},
    ],
)
def test_a_key_that_somebody_made_up_is_refused(spoil: Callable[[rsa.RSAPrivateNumbers], dict[str, int]]) -> None:
    numbers = numbers_of(rsa_pem())
    names = ("p", "q", "d", "dmp1", "dmq1", "iqmp")
    made_up = rsa.RSAPrivateNumbers(
        **{**{name: getattr(numbers, name) for name in names}, **spoil(numbers)}, public_numbers=numbers.public_numbers
    )
    assert errors(check(dkim=key(privateKey=pem_of(made_up)))) == [("dkim.privateKey", "INVALID_PRIVATE_KEY")]


@pytest.mark.parametrize("library", ["dkim", "nacl"])
def test_without_its_extra_it_is_an_error_that_names_the_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    checked = check(dkim=key())
    assert errors(checked) == [("dkim", "NOT_INSTALLED")]
    assert "smtpconnector-server[dkim]" in checked.findings[0].hint
    assert check(dkim={}).findings == ()


def test_files_of_a_disk_are_not_written() -> None:
    assert said(check(dkim=key(cacheDir="/tmp", cacheTreshold=1))) == [  # noqa: S108 - as data
        ("WARNING", "dkim.cacheDir", "NO_EFFECT"),
        ("WARNING", "dkim.cacheTreshold", "NO_EFFECT"),
    ]


def test_no_repr_shows_a_key() -> None:
    assert rsa_pem()[60:90] not in repr(connector(dkim=key(privateKey=rsa_pem())))
