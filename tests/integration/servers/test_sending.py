"""Mails of ours to real mail servers: accepted ones arrive as they were, and refused ones are called what they are."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from harness.proxy import Proxy
from harness.servers.mail_server import GREYLISTED, MAX_MESSAGE_SIZE, MECHANISMS, REFUSED_SUBJECT, UNKNOWN
from harness.servers.submission import Access, Letter, configuration, login
from smtpconnector_server.config.model import TlsMode, TlsOptions
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.events import SessionClosed
from smtpconnector_server.smtp.pool import SessionPool

if TYPE_CHECKING:
    from harness.servers.mail_server import MailServer
    from smtpconnector_server.config.model import Server

LEVELS = pytest.mark.parametrize("single_flight", [False, True], ids=["pipelining", "single flight"])
TOO_LARGE = ("x" * 78 + "\r\n") * (MAX_MESSAGE_SIZE // 80 + 1)
OVER_TLS = pytest.mark.parametrize("access", [Access.STARTTLS, Access.IMPLICIT_TLS])


async def failure_of(letter: Letter, pool: SessionPool, server: Server) -> Failure:
    with pytest.raises(Failure) as failed:
        await letter.send(pool, server)
    return failed.value


@LEVELS
@pytest.mark.parametrize("access", Access)
async def test_delivers_a_mail(
    mail_server: MailServer, pool: SessionPool, access: Access, *, single_flight: bool
) -> None:
    letter = Letter()
    reply = await letter.send(pool, configuration(access.port(mail_server), access, single_flight=single_flight))
    assert reply.code == 250
    (mail,) = await mail_server.wait_for(letter.subject)
    assert mail.get_content() == letter.text


@LEVELS
async def test_delivers_every_octet(mail_server: MailServer, pool: SessionPool, *, single_flight: bool) -> None:
    # No line looks like a command: such a mail does not go in a single flight.
    lines = [".", "..", ".dot", "", "x" * 998, "你好 🎉 ü", "1 space at the end ", ">From", "."]
    letter = Letter(text="\r\n".join([*lines, ""]), is_encoded=False)
    await letter.send(pool, configuration(mail_server.clear_port, Access.CLEAR, single_flight=single_flight))
    (mail,) = await mail_server.wait_for(letter.subject)
    assert mail.get_content().split("\n") == [*lines, ""]


async def test_delivers_a_message_of_many_writes(mail_server: MailServer, pool: SessionPool) -> None:
    lines = [f"{number:070}" for number in range(12_000)]
    letter = Letter(text="\r\n".join([*lines, ""]), is_encoded=False)
    await letter.send(pool, configuration(mail_server.tls_port, Access.IMPLICIT_TLS))
    (mail,) = await mail_server.wait_for(letter.subject)
    assert mail.get_content().split("\n") == [*lines, ""]


@OVER_TLS
@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_logs_in_by_each_mechanism(
    mail_server: MailServer, pool: SessionPool, access: Access, mechanism: str
) -> None:
    server = replace(configuration(access.port(mail_server), access), auth=login(mechanism=mechanism))
    assert (await Letter().send(pool, server)).code == 250


@OVER_TLS
@pytest.mark.parametrize("mechanism", [None, *MECHANISMS])
async def test_tries_a_wrong_password_once(
    mail_server: MailServer, pool: SessionPool, access: Access, mechanism: str | None
) -> None:
    server = replace(configuration(access.port(mail_server), access), auth=login("wrong", mechanism))
    before = await failed_logins(mail_server)
    failure = await failure_of(Letter(), pool, server)
    assert (failure.reason, failure.stage) == (Reason.SMTP_AUTH_FAILED, Stage.AUTH)
    assert failure.reply is not None
    assert failure.reply.code == 535
    assert await failed_logins(mail_server) - before == 1


async def failed_logins(server: MailServer) -> int:
    return len(re.findall(r"SASL \S+ authentication failed|authenticator failed", await server.log_so_far()))


@OVER_TLS
@pytest.mark.parametrize(
    "tls",
    [TlsOptions(ca_pem=trustme.CA().cert_pem.bytes().decode()), TlsOptions()],
    ids=["another authority", "the system's authorities"],
)
async def test_refuses_a_certificate_that_nobody_vouches_for(
    mail_server: MailServer, pool: SessionPool, access: Access, tls: TlsOptions
) -> None:
    failure = await failure_of(Letter(), pool, replace(configuration(access.port(mail_server), access), tls=tls))
    assert (failure.reason, failure.stage) == (Reason.SMTP_TLS_CERTIFICATE_INVALID, Stage.TLS)


@OVER_TLS
async def test_refuses_a_certificate_for_another_name(
    mail_server: MailServer, pool: SessionPool, access: Access
) -> None:
    server = configuration(access.port(mail_server), access)
    elsewhere = replace(server, tls=replace(server.tls, server_name="elsewhere.example.com"))
    failure = await failure_of(Letter(), pool, elsewhere)
    assert (failure.reason, failure.stage) == (Reason.SMTP_TLS_CERTIFICATE_INVALID, Stage.TLS)


async def test_finds_tls_required_and_not_offered(mail_server: MailServer, pool: SessionPool) -> None:
    failure = await failure_of(Letter(), pool, configuration(mail_server.clear_port, Access.STARTTLS))
    assert (failure.reason, failure.outcome) == (Reason.SMTP_TLS_REQUIRED, Outcome.NOT_SENT)


async def test_finds_credentials_that_nobody_asks_for(mail_server: MailServer, pool: SessionPool) -> None:
    server = replace(configuration(mail_server.clear_port, Access.CLEAR), auth=login())
    failure = await failure_of(Letter(), pool, server)
    assert (failure.reason, failure.outcome) == (Reason.SMTP_AUTH_UNSUPPORTED, Outcome.NOT_SENT)


async def test_keeps_credentials_from_a_server_without_tls(mail_server: MailServer, pool: SessionPool) -> None:
    server = configuration(mail_server.clear_port, Access.STARTTLS)
    failure = await failure_of(Letter(), pool, replace(server, tls_mode=TlsMode.STARTTLS_OFFERED))
    assert failure.outcome is Outcome.NOT_SENT
    assert failure.reason in {Reason.SMTP_TLS_REQUIRED_FOR_AUTH, Reason.SMTP_AUTH_UNSUPPORTED}


async def test_finds_implicit_tls_spoken_to_a_port_of_starttls(mail_server: MailServer, pool: SessionPool) -> None:
    failure = await failure_of(Letter(), pool, configuration(mail_server.starttls_port, Access.IMPLICIT_TLS))
    assert (failure.reason, failure.outcome) == (Reason.SMTP_TLS_PROTOCOL_MISMATCH, Outcome.NOT_SENT)


async def test_is_told_that_it_must_start_tls(mail_server: MailServer, pool: SessionPool) -> None:
    failure = await failure_of(Letter(), pool, configuration(mail_server.starttls_port, Access.CLEAR))
    assert failure.reason is Reason.SMTP_TLS_REQUIRED


async def test_is_told_that_it_must_log_in(mail_server: MailServer, pool: SessionPool) -> None:
    server = replace(configuration(mail_server.tls_port, Access.IMPLICIT_TLS), auth=None)
    failure = await failure_of(Letter(), pool, server)
    # Exim says it in reply to MAIL; Postfix's "Client host rejected" does not mention it.
    expected = {"exim": Reason.SMTP_AUTH_REQUIRED, "postfix": Reason.SMTP_POLICY_REJECTED}
    assert (failure.reason, failure.outcome) == (expected[mail_server.name], Outcome.REJECTED)


@LEVELS
@pytest.mark.parametrize(
    ("letter", "reason", "stage", "outcome"),
    [
        (Letter(recipient=UNKNOWN), Reason.SMTP_RECIPIENT_REJECTED, Stage.RCPT, Outcome.REJECTED),
        (Letter(recipient=GREYLISTED), Reason.SMTP_RECIPIENT_DEFERRED, Stage.RCPT, Outcome.NOT_SENT),
        (Letter(subject=REFUSED_SUBJECT), Reason.SMTP_MESSAGE_REJECTED, Stage.MESSAGE, Outcome.REJECTED),
        (Letter(text=TOO_LARGE), Reason.SMTP_MESSAGE_TOO_LARGE, Stage.MAIL, Outcome.NOT_SENT),
    ],
    ids=["unknown recipient", "greylisted recipient", "refused message", "large message"],
)
async def test_a_good_mail_follows_a_refused_one_on_the_same_connection(
    mail_server: MailServer,
    pool: SessionPool,
    letter: Letter,
    reason: Reason,
    stage: Stage,
    outcome: Outcome,
    *,
    single_flight: bool,
) -> None:
    async with Proxy(mail_server.clear_port) as proxy:
        server = configuration(proxy.port, Access.CLEAR, single_flight=single_flight)
        failure = await failure_of(letter, pool, server)
        assert (failure.reason, failure.stage, failure.outcome) == (reason, stage, outcome)
        good = Letter()
        await good.send(pool, server)
        await mail_server.wait_for(good.subject)
        assert mail_server.delivered(letter.subject) == []
        assert len(proxy.links) == 1


@LEVELS
async def test_thirty_mails_go_over_one_connection(
    mail_server: MailServer, pool: SessionPool, *, single_flight: bool
) -> None:
    letters = [Letter() for _ in range(30)]
    async with Proxy(mail_server.clear_port) as proxy:
        server = configuration(proxy.port, Access.CLEAR, single_flight=single_flight)
        for letter in letters:
            await letter.send(pool, server)
        await asyncio.gather(*(mail_server.wait_for(letter.subject) for letter in letters))
        assert len(proxy.links) == 1


async def test_a_connection_that_the_server_gave_up_is_replaced(mail_server: MailServer) -> None:
    gone = asyncio.Event()
    pool = SessionPool(dialer=Dialer(), hook=lambda event: gone.set() if isinstance(event, SessionClosed) else None)
    first, second = Letter(), Letter()
    async with Proxy(mail_server.impatient_port) as proxy:
        server = configuration(proxy.port, Access.CLEAR)
        await first.send(pool, server)
        async with asyncio.timeout(15):
            await gone.wait()
        await second.send(pool, server)
        assert len(proxy.links) == 2
    await pool.close(1.0)
    await mail_server.wait_for(second.subject)
