from __future__ import annotations

import pytest

from smtpconnector import (
    AsyncClient,
    Client,
    DeliveryUncertain,
    Outcome,
    RateLimited,
    RecipientRejected,
    SmtpConnectorError,
    Unavailable,
)
from smtpconnector.testing import CODE_OF_REASON, FakeConnector
from smtpconnector_server.rpc.status import CODES


def test_every_reason_has_the_code_that_the_server_gives_it() -> None:
    assert {reason.value: code for reason, code in CODES.items()} == CODE_OF_REASON


def test_records_what_would_have_been_sent() -> None:
    with FakeConnector() as connector, Client(connector.address) as client:
        sent = client.send_message("ada@example.com", "SignIn", {"code": "123456"}, config="shop")
        client.send_message("bob@example.com", "Register", validate_only=True)
        [message] = connector.messages
        assert (message.to, message.type, message.payload, message.profile) == (
            "ada@example.com",
            "SignIn",
            {"code": "123456"},
            "shop",
        )
        assert sent.reply is not None
        assert client.validate_config().valid
        assert client.get_metadata().server_version == "fake"


async def test_serves_asyncio_too() -> None:
    with FakeConnector() as connector:
        async with AsyncClient(connector.address) as client:
            await client.send_message("ada@example.com", "SignIn")
        assert connector.messages[0].profile == "default"


@pytest.mark.parametrize("reason", sorted(CODE_OF_REASON))
def test_fails_with_each_reason_and_then_no_more(reason: str) -> None:
    with FakeConnector() as connector, Client(connector.address) as client:
        times = 4 if CODE_OF_REASON[reason].name == "UNAVAILABLE" else 1  # the client retries those
        connector.fail_next(reason, times=times)
        with pytest.raises(SmtpConnectorError) as raised:
            client.send_message("ada@example.com", "SignIn")
        assert raised.value.reason == reason
        client.send_message("ada@example.com", "SignIn")


def test_a_failure_says_what_it_was_told() -> None:
    with FakeConnector() as connector, Client(connector.address) as client:
        connector.fail_next("SMTP_RECIPIENT_REJECTED", outcome=Outcome.REJECTED, violations={"to": "no such mailbox"})
        with pytest.raises(RecipientRejected) as rejected:
            client.send_message("ada@example.com", "SignIn")
        assert rejected.value.outcome is Outcome.REJECTED
        assert [(violation.field, violation.description) for violation in rejected.value.violations] == [
            ("to", "no such mailbox")
        ]
        connector.fail_next("SMTP_RATE_LIMITED", retry_after=1.5)
        with pytest.raises(RateLimited) as limited:
            client.send_message("ada@example.com", "SignIn")
        assert limited.value.retry_after == 1.5
        assert not connector.messages


def test_an_uncertain_message_may_have_arrived() -> None:
    with FakeConnector() as connector, Client(connector.address) as client:
        connector.fail_next("DELIVERY_UNCERTAIN")
        with pytest.raises(DeliveryUncertain):
            client.send_message("ada@example.com", "SignIn")
        assert len(connector.messages) == 1


def test_a_failure_that_passes_is_retried_by_the_client() -> None:
    with FakeConnector() as connector, Client(connector.address) as client:
        connector.fail_next("SMTP_CONNECT_FAILED", times=2)
        client.send_message("ada@example.com", "SignIn")
        assert len(connector.messages) == 1
        connector.fail_next("SMTP_CONNECT_FAILED", times=20)
        with pytest.raises(Unavailable):
            client.send_message("ada@example.com", "SignIn")


def test_says_that_there_is_no_such_reason() -> None:
    with pytest.raises(ValueError, match="no reason"):
        FakeConnector().fail_next("NONSENSE")
