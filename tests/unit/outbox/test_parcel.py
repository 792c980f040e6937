"""A mail as octets to be sealed, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.source import Source, SourceKind
from smtpconnector_server.delivery.composition import Composed
from smtpconnector_server.delivery.prepared import Prepared, prepare
from smtpconnector_server.message.mail import Mail
from smtpconnector_server.outbox.parcel import Parcel, pack

TEMPLATES = [
    {"usageType": name, "contentType": "text/plain", "subject": "s", "content": "c"}
    for name in ("Register", "SignIn", "ForgotPassword", "Generic")
]


def prepared(*, single_flight: bool = False, host: str = "smtp.example.com") -> Prepared:
    checked = read_document(
        {
            "host": host,
            "port": 465,
            "auth": {"user": "u", "pass": "p"},
            "fromEmail": "sender@example.com",
            "templates": TEMPLATES,
            "singleFlight": single_flight,
        },
        origin=Origin.PROFILE,
    )
    assert checked.connector is not None
    return prepare(checked.connector, "default")


def composed(configuration: Prepared, **changes: Any) -> Composed:
    fields: dict[str, Any] = {
        "sender": "sender@example.com",
        "recipient": "ada@example.com",
        "message_id": "<a@example.com>",
        "needs_smtputf8": False,
        "opaque": False,
        "octets": b"Subject: s\r\n\r\nYour code is 314159.\r\n",
    }
    return Composed(
        mail=Mail(**fields | changes),
        server=configuration.connector.server,
        dsn=configuration.connector.dsn,
        profile=configuration.profile,
        usage_type="SignIn",
    )


PREPARED = prepared()
PROFILE = Source(SourceKind.PROFILE, profile="default")


@given(
    octets=st.binary(max_size=200),
    recipient=st.text(max_size=40),
    needs_smtputf8=st.booleans(),
    opaque=st.booleans(),
    values=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.booleans(), max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_what_is_packed_comes_out_as_it_was(
    octets: bytes, recipient: str, values: dict[str, Any], *, needs_smtputf8: bool, opaque: bool
) -> None:
    mail = composed(PREPARED, octets=octets, recipient=recipient, needs_smtputf8=needs_smtputf8, opaque=opaque)
    source = Source(SourceKind.DOCUMENT, values=values)

    parcel = Parcel(pack(mail, source))

    assert parcel.source == source
    assert parcel.addressed(PREPARED) == mail


def test_it_is_sent_by_the_configuration_as_it_is_now() -> None:
    parcel = Parcel(pack(composed(prepared()), PROFILE))

    assert parcel.addressed(prepared(host="other.example.com")).server.host == "other.example.com"


@pytest.mark.parametrize(
    ("is_opaque", "was_learnt", "flies"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_only_a_mail_that_was_made_for_it_goes_in_a_single_flight(
    *, is_opaque: bool, was_learnt: bool, flies: bool
) -> None:
    parcel = Parcel(pack(composed(prepared(), opaque=is_opaque), PROFILE))

    assert parcel.addressed(prepared(single_flight=was_learnt)).server.single_flight is flies


def test_its_repr_shows_nothing_of_the_mail() -> None:
    source = Source(SourceKind.DOCUMENT, values={"auth": {"pass": "secret"}})
    text = repr(Parcel(pack(composed(prepared()), source)))

    assert not {"ada", "314159", "secret"} & {word for word in ("ada", "314159", "secret") if word in text}
