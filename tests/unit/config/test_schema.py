from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import event, given, settings
from hypothesis import strategies as st

from harness.configuration import document
from harness.documents import plain_templates
from harness.json_schema import accepts
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.example import example_document
from smtpconnector_server.config.keys import keys
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.schema import config_schema
from smtpconnector_server.config.shape import DocumentShape, key_names

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATE = trustme.CA().issue_cert("client.example.com")
CERT = CERTIFICATE.cert_chain_pems[0].bytes().decode()
KEY = CERTIFICATE.private_key_pem.bytes().decode()
RSA_KEY = trustme.CA(key_type=trustme.KeyType.RSA).private_key_pem.bytes().decode()

# Values that are good where they may stand at all: what is wrong with them is only their type, or their place.
TEXTS = {
    "host": "smtp.example.com",
    "fromEmail": "a@b.example",
    "replyTo": "a@b.example",
    "name": "mail.example.com",
    "localAddress": "127.0.0.1",
    "servername": "smtp.example.com",
    "service": "gmail",
    "accessUrl": "https://login.example.com/token",
    "privateKey": RSA_KEY,
    "ca": CERT,
    "cert": CERT,
    "key": KEY,
    "ciphers": "HIGH",
    "languageTag": "de",
    "usageType": "SignIn",
    "sendFrom": "a@b.example",
    "domainName": "example.com",
    "hashAlgo": "sha256",
    "headerFieldNames": "From",
}
STRANGE = st.sampled_from(
    [None, "", True, False, 0, 1, 25, 465, 587, 25.5, -1, 65536, "587", "65536", "text", [], [""], {}, {"x": 1}, ["x"]]
)


def good_value(key: str, path: tuple[str, ...]) -> Any:
    """A value that a key may have."""
    if key == "key" and "privateKey" in path:
        return RSA_KEY
    if key == "keys":
        return {"domainName": "example.com", "keySelector": "s", "privateKey": RSA_KEY}
    return TEXTS.get(key, "text")


AUTH = st.one_of(
    st.just({"user": "u", "pass": "p"}),
    st.just({}),
    st.just({"type": "login"}),
    st.just({"type": "OAuth2", "user": "u", "accessToken": "t"}),
    st.just({"user": "u", "clientId": "c", "refreshToken": "r"}),
    st.just({"user": "u", "serviceClient": "s", "privateKey": RSA_KEY}),
    st.just({"user": "u", "serviceClient": "s", "privateKey": {"key": RSA_KEY}}),
    st.just({"user": "u", "clientId": "c", "clientSecret": "s", "accessUrl": "https://x.example", "scope": "s"}),
    st.just({"user": "u", "clientId": "c", "clientSecret": "s", "accessUrl": "https://login.microsoftonline.com/x"}),
)
TLS = st.one_of(
    st.just({}),
    st.just({"ca": [CERT], "minVersion": "TLSv1.2", "rejectUnauthorized": False}),
    st.just({"cert": CERT, "key": KEY}),
    st.just({"cert": [CERT], "key": {"pem": KEY}}),
)
ANY_KEY = st.sampled_from(
    sorted(
        {name for key in keys() for name in (key.name, *key.members)}
        | {"proxy", "lmtp", "xMailer", "pfx", "file", "customParams", "pem", "quux", "usagetype"}
    )
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value where something stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Good documents with up to three things changed, anywhere."""
    base = draw(st.sampled_from([document(), example_document()]))
    changed = copy.deepcopy({**base, "host": "smtp.example.com", "fromEmail": "a@b.example", "port": 2525})
    changed["auth"] = copy.deepcopy(draw(AUTH))
    changed["tls"] = copy.deepcopy(draw(TLS))
    changed["customHeaders"] = {"X-A": "1", "X-B": ["2", "3"]}
    for _ in range(draw(st.integers(0, 3))):
        spots = [(), *places(changed)]
        *way, last = draw(st.sampled_from(spots)) or (draw(ANY_KEY),)
        target = changed
        for step in way:
            target = target[step]
        if isinstance(target.get(last) if isinstance(target, dict) else None, dict) and draw(st.booleans()):
            target, last = target[last], draw(ANY_KEY)
        if isinstance(target, dict) and draw(st.booleans()):
            target.pop(last, None)
        else:
            # A copy: a later change may reach into it.
            target[last] = copy.deepcopy(draw(st.one_of(STRANGE, st.just(good_value(str(last), tuple(map(str, way)))))))
    return changed


@given(documents())
@settings(max_examples=100, deadline=None)
def test_the_schema_accepts_what_the_validator_accepts(changed: dict[str, Any]) -> None:
    checked = read_document(copy.deepcopy(changed), origin=Origin.PROFILE)
    beyond_a_schema = {"INVALID_HEADER", "INVALID_ADDRESS", "INVALID_HOST", "INVALID_TEMPLATE", "INVALID_URL"} | {
        *("NOT_PEM", "INVALID_PRIVATE_KEY", "INVALID_CERTIFICATE", "KEY_MISMATCH", "UNKNOWN_SERVICE"),
        *("TLS_PORT_MISMATCH", "CONTROL_CHARACTER", "PATH_NOT_ALLOWED"),
    }
    errors = [finding for finding in checked.findings if finding.severity.name == "ERROR"]
    if any(finding.reason in beyond_a_schema for finding in errors) or (
        any(finding.reason == "CONTRADICTION" and "port" in finding.message for finding in errors)
        or any(
            finding.reason == "INVALID_VALUE" and finding.field in ("tls.ciphers", "localAddress") for finding in errors
        )
        or any(
            finding.reason in ("INVALID_VALUE", "CONTRADICTION") and finding.field.startswith(("dsn.", "dkim."))
            for finding in errors
        )
    ):
        event("beyond a schema")
        return
    event("refused" if errors else "accepted")
    assert accepts(config_schema(), changed) == (not errors), errors


def test_the_schema_names_the_keys_of_the_document() -> None:
    properties = config_schema()["properties"]
    assert set(key_names(DocumentShape)) <= set(properties)
    for key in keys():
        assert properties[key.name]["description"] == key.description["en"]


def test_the_example_is_structurally_valid() -> None:
    assert accepts(config_schema(), example_document())


@pytest.mark.parametrize("key", ["host", "fromEmail", "templates", "auth"])
def test_what_is_missing_is_refused(key: str) -> None:
    assert not accepts(config_schema(), document(**{key: ...}))


def test_each_required_usage_type_is_required() -> None:
    for index in range(4):
        templates = plain_templates()
        del templates[index]
        assert not accepts(config_schema(), document(templates=templates))
