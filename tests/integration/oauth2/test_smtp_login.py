"""From a token end point to an SMTP server that speaks XOAUTH2 and OAUTHBEARER, both real."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.certificates import ca_pem, client_context, server_context
from harness.fault import Fault, State, reply_with
from harness.sasl import Credentials
from harness.smtp_server import SmtpServer
from harness.token_server import Answer, TokenServer, answers, issues, refuses
from smtpconnector_server.config.model import (
    AccessToken,
    ClientCredentialsGrant,
    OAuth2Auth,
    RefreshTokenGrant,
    Server,
    ServiceAccountGrant,
    TlsMode,
    TlsOptions,
    TokenMechanism,
    TokenSource,
)
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Reason
from smtpconnector_server.smtp.dialer import AllowAll, Dialer
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.smtp.oauth2 import TokenCache
from smtpconnector_server.smtp.opening import Opener
from smtpconnector_server.smtp.resolver import Resolver
from smtpconnector_server.smtp.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

USER = "sender@example.com"
OLD, NEW = Credentials(user=USER, token="canary-old"), Credentials(user=USER, token="canary-new")
MESSAGE = b"Subject: code\r\n\r\n123456\r\n"


class Mailer:
    """Sends each mail on a connection of its own, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        resolver = Resolver(lambda _host: [ip_address("127.0.0.1")])
        post = TokenEndpoint(resolver=resolver, policy=AllowAll(), tls=client_context())
        self.tokens = TokenCache(post, clock=lambda: self.now)
        self.opener = Opener(Dialer(), tokens=self.tokens)

    async def send(self, smtp: SmtpServer, auth: OAuth2Auth) -> None:
        server = Server(
            host="127.0.0.1",
            port=smtp.port,
            tls_mode=TlsMode.IMPLICIT,
            tls=TlsOptions(ca_pem=ca_pem()),
            auth=auth,
        )
        session = await self.opener.open(server)
        try:
            await session.send(Envelope(sender=USER, recipient="recipient@example.com"), MESSAGE)
        finally:
            session.wire.quit("done")
            await session.wire.gone

    async def failure(self, smtp: SmtpServer, auth: OAuth2Auth) -> Failure:
        with pytest.raises(Failure) as caught:
            await self.send(smtp, auth)
        told = f"{caught.value.message} {caught.value.reply}"
        assert "canary" not in told
        return caught.value


@pytest.fixture
async def mailer() -> AsyncIterator[Mailer]:
    mailer = Mailer()
    yield mailer
    await mailer.tokens.aclose()


def smtp_server(*faults: Fault, credentials: Credentials = OLD) -> SmtpServer:
    return SmtpServer(*faults, tls=server_context(), implicit_tls=True, credentials=credentials)


def auth(token_server: TokenServer, mechanism: TokenMechanism | None = None) -> OAuth2Auth:
    source = RefreshTokenGrant(
        client_id="id",
        client_secret=Secret("canary-secret"),
        refresh_token=Secret("canary-refresh"),
        token_url=token_server.url,
    )
    return OAuth2Auth(user=USER, source=source, mechanism=mechanism)


def auth_commands(smtp: SmtpServer) -> list[bytes]:
    lines = [command.line for session in smtp.sessions for command in session.commands]
    return [line.split()[1] for line in lines if line.startswith(b"AUTH ")]


@pytest.mark.parametrize("mechanism", list(TokenMechanism))
async def test_mails_share_one_token(mailer: Mailer, mechanism: TokenMechanism) -> None:
    async with TokenServer(issues("canary-old")) as token_server, smtp_server() as smtp:
        for _ in range(3):
            await mailer.send(smtp, auth(token_server, mechanism))
        assert len(smtp.ledger) == 3
        assert set(auth_commands(smtp)) == {mechanism.value.encode()}
        assert len(token_server.requests) == 1


def _grants(token_url: str) -> dict[str, TokenSource]:
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "urn:ietf:params:oauth:grant-type:jwt-bearer": ServiceAccountGrant(
            service_client="robot",
            private_key_pem=Secret(key.decode()),
            private_key_passphrase=None,
            token_url=token_url,
            scope="scope",
        ),
        "client_credentials": ClientCredentialsGrant(
            client_id="id", client_secret=Secret("canary-secret"), token_url=token_url, scope="scope"
        ),
    }


@pytest.mark.parametrize("grant_type", ["urn:ietf:params:oauth:grant-type:jwt-bearer", "client_credentials"])
async def test_an_application_sends_without_a_user_of_its_own(mailer: Mailer, grant_type: str) -> None:
    async with TokenServer(issues("canary-old")) as token_server, smtp_server() as smtp:
        await mailer.send(smtp, OAuth2Auth(user=USER, source=_grants(token_server.url)[grant_type]))
        assert len(smtp.ledger) == 1
        assert token_server.requests[0].form["grant_type"] == grant_type


@pytest.mark.parametrize("mechanism", list(TokenMechanism))
async def test_a_token_that_died_before_its_time_is_renewed_once_and_the_mail_goes_out(
    mailer: Mailer, mechanism: TokenMechanism
) -> None:
    async with TokenServer(issues("canary-old"), issues("canary-new")) as token_server, smtp_server() as smtp:
        await mailer.send(smtp, auth(token_server, mechanism))
        mailer.now += 600
        smtp.credentials = NEW
        await mailer.send(smtp, auth(token_server, mechanism))
        assert len(smtp.ledger) == 2
        assert len(auth_commands(smtp)) == 3
        assert len(token_server.requests) == 2


async def test_a_refusal_without_a_challenge_is_answered_by_a_renewal_too(mailer: Mailer) -> None:
    refusal = Fault(State.AUTH1, reply_with(b"535 5.7.3 Authentication unsuccessful\r\n"), connection=2)
    async with TokenServer() as token_server, smtp_server(refusal, credentials=OLD) as smtp:
        token_server.script = [issues("canary-old"), issues("canary-old-2")]
        await mailer.send(smtp, auth(token_server))
        mailer.now += 600
        smtp.credentials = replace(OLD, token="canary-old-2")
        await mailer.send(smtp, auth(token_server))
        assert len(smtp.ledger) == 2
        assert len(auth_commands(smtp)) == 3


async def test_the_second_refusal_is_final(mailer: Mailer) -> None:
    async with TokenServer(issues("canary-old")) as token_server, smtp_server() as smtp:
        await mailer.send(smtp, auth(token_server))
        mailer.now += 600
        smtp.credentials = NEW
        failure = await mailer.failure(smtp, auth(token_server))
        assert failure.reason is Reason.SMTP_AUTH_FAILED
        assert len(auth_commands(smtp)) == 3
        assert len(token_server.requests) == 2


async def test_a_new_token_that_is_refused_is_not_offered_again(mailer: Mailer) -> None:
    async with TokenServer(issues("canary-old")) as token_server, smtp_server(credentials=NEW) as smtp:
        assert (await mailer.failure(smtp, auth(token_server))).reason is Reason.SMTP_AUTH_FAILED
        assert len(auth_commands(smtp)) == 1
        assert len(token_server.requests) == 1


async def test_a_ready_token_that_is_refused_is_not_offered_again(mailer: Mailer) -> None:
    ready = OAuth2Auth(user=USER, source=AccessToken(token=Secret("canary-old")))
    async with smtp_server(credentials=NEW) as smtp:
        assert (await mailer.failure(smtp, ready)).reason is Reason.SMTP_AUTH_FAILED
        assert len(auth_commands(smtp)) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refuses("invalid_grant", error_description="canary"), Reason.OAUTH2_TOKEN_REJECTED),
        (answers(503, "canary"), Reason.OAUTH2_ENDPOINT_UNAVAILABLE),
    ],
)
async def test_a_renewal_that_fails_says_why(mailer: Mailer, answer: Answer, reason: Reason) -> None:
    async with TokenServer(issues("canary-old"), answer) as token_server, smtp_server() as smtp:
        await mailer.send(smtp, auth(token_server))
        mailer.now += 600
        smtp.credentials = NEW
        assert (await mailer.failure(smtp, auth(token_server))).reason is reason
        assert len(smtp.ledger) == 1


async def test_without_a_token_the_smtp_server_is_not_even_called(mailer: Mailer) -> None:
    async with TokenServer(refuses("invalid_client", status=401)) as token_server, smtp_server() as smtp:
        assert (await mailer.failure(smtp, auth(token_server))).reason is Reason.OAUTH2_TOKEN_REJECTED
        assert not smtp.sessions
