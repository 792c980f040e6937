from __future__ import annotations

import aiosmtplib
import pytest

from harness.certificates import Certificate, client_context, server_context
from harness.inbox import Inbox
from harness.sasl import Credentials

CREDENTIALS = Credentials()


@pytest.mark.parametrize("implicit_tls", [True, False])
async def test_collects_a_mail_over_tls_from_whoever_is_let_in(implicit_tls: bool) -> None:
    async with Inbox(tls=server_context(), implicit_tls=implicit_tls, credentials=CREDENTIALS) as inbox:
        client = aiosmtplib.SMTP(
            hostname=inbox.host,
            port=inbox.port,
            use_tls=implicit_tls,
            start_tls=not implicit_tls,
            tls_context=client_context(),
        )
        async with client:
            await client.login(CREDENTIALS.user, CREDENTIALS.password)
            await client.sendmail("a@example.com", ["b@example.com"], b"Subject: x\r\n\r\n.dot\r\n")
        mail = await inbox.wait_for_mail()
    assert (mail.sender, mail.recipients) == ("a@example.com", ("b@example.com",))
    assert mail.octets == b"Subject: x\r\n\r\n.dot\r\n"
    assert mail.message["Subject"] == "x"


async def test_lets_nobody_in_with_a_wrong_password() -> None:
    async with Inbox(credentials=CREDENTIALS) as inbox, aiosmtplib.SMTP(hostname=inbox.host, port=inbox.port) as client:
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await client.login(CREDENTIALS.user, "wrong")


@pytest.mark.parametrize("certificate", [flaw for flaw in Certificate if flaw is not Certificate.GOOD])
async def test_every_bad_certificate_is_refused_by_a_client_that_looks(certificate: Certificate) -> None:
    async with Inbox(tls=server_context(certificate), implicit_tls=True) as inbox:
        client = aiosmtplib.SMTP(hostname=inbox.host, port=inbox.port, use_tls=True, tls_context=client_context())
        with pytest.raises(aiosmtplib.SMTPConnectError, match="certificate verify failed"):
            await client.connect()
