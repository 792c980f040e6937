"""The launched servers are what the other tests take them for; no code of the product is involved."""

from __future__ import annotations

import smtplib
import uuid
from typing import TYPE_CHECKING

import pytest

from harness.certificates import client_context
from harness.servers.mail_server import (
    CREDENTIALS,
    GREYLISTED,
    INBOX,
    MAX_MESSAGE_SIZE,
    MECHANISMS,
    REFUSED_SUBJECT,
    UNKNOWN,
    MailServer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.servers.smtp_sink import SmtpSink

SENDER = "sender@example.com"


def message(subject: str) -> str:
    return f"From: {SENDER}\r\nTo: {INBOX}\r\nSubject: {subject}\r\n\r\nHello.\r\n"


async def test_delivers_a_mail_sent_in_the_clear(mail_server: MailServer) -> None:
    subject = uuid.uuid4().hex
    with smtplib.SMTP(mail_server.host, mail_server.clear_port) as client:
        client.sendmail(SENDER, INBOX, message(subject))
        assert not client.has_extn("starttls")
        assert not client.has_extn("auth")
    (mail,) = await mail_server.wait_for(subject)
    assert mail.get_content().strip() == "Hello."


def test_offers_pipelining_chunking_and_a_size(mail_server: MailServer) -> None:
    with smtplib.SMTP(mail_server.host, mail_server.clear_port) as client:
        client.ehlo()
        assert {"pipelining", "chunking", "8bitmime", "smtputf8"} <= client.esmtp_features.keys()
        assert client.esmtp_features["size"] == str(MAX_MESSAGE_SIZE)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("implicit_tls", [True, False], ids=["implicit TLS", "STARTTLS"])
async def test_lets_its_user_in_over_tls(mail_server: MailServer, mechanism: str, *, implicit_tls: bool) -> None:
    subject = uuid.uuid4().hex
    with connected(mail_server, implicit_tls=implicit_tls) as client:
        client.ehlo()
        assert set(client.esmtp_features["auth"].split()) == set(MECHANISMS)
        log_in(client, mechanism, CREDENTIALS.password)
        client.sendmail(SENDER, INBOX, message(subject))
    await mail_server.wait_for(subject)


def test_refuses_a_wrong_password(mail_server: MailServer) -> None:
    with connected(mail_server, implicit_tls=True) as client:
        client.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            log_in(client, "PLAIN", "wrong")


def test_takes_no_mail_of_strangers_on_its_submission_ports(mail_server: MailServer) -> None:
    with connected(mail_server, implicit_tls=True) as client:
        client.ehlo()
        with pytest.raises((smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused)):
            client.sendmail(SENDER, INBOX, message("of a stranger"))


@pytest.mark.parametrize(("recipient", "code"), [(UNKNOWN, 550), (GREYLISTED, 450)])
def test_refuses_these_recipients(mail_server: MailServer, recipient: str, code: int) -> None:
    with smtplib.SMTP(mail_server.host, mail_server.clear_port) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail(SENDER, recipient, message("refused"))
        assert refused.value.recipients[recipient][0] == code


def test_refuses_this_subject_after_the_message(mail_server: MailServer) -> None:
    with smtplib.SMTP(mail_server.host, mail_server.clear_port) as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(SENDER, INBOX, message(REFUSED_SUBJECT))
        assert refused.value.smtp_code == 550


@pytest.mark.needs_server("smtp-sink")
def test_smtp_sink_keeps_what_it_refuses(smtp_sink: Callable[..., SmtpSink]) -> None:
    sink = smtp_sink("-f", ".")
    with smtplib.SMTP(sink.host, sink.port) as client, pytest.raises(smtplib.SMTPDataError):
        client.sendmail(SENDER, INBOX, message("kept"))
    assert "Subject: kept\n" in sink.received()[0]


def connected(server: MailServer, *, implicit_tls: bool) -> smtplib.SMTP:
    if implicit_tls:
        return smtplib.SMTP_SSL(server.host, server.tls_port, context=client_context())
    client = smtplib.SMTP(server.host, server.starttls_port)
    client.starttls(context=client_context())
    return client


def log_in(client: smtplib.SMTP, mechanism: str, password: str) -> None:
    client.user, client.password = CREDENTIALS.user, password
    client.auth(mechanism, getattr(client, f"auth_{mechanism.lower().replace('-', '_')}"))
