"""A look at a server, where the service's own way in does not reach: names, tokens, levels, what is told when."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from harness.certificates import Certificate, authority, server_context
from harness.fault import Fault, State, reply_with, stall
from harness.sasl import Credentials
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import AccessToken, LoginAuth, OAuth2Auth, Server, TlsMode, TlsOptions
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.delivery.diagnosis import diagnose
from smtpconnector_server.failure import Reason, Stage
from smtpconnector_server.smtp.course import Depth, ProbeStep, StepStatus
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.smtp.opening import Opener
from smtpconnector_server.smtp.probe import Probe, Report
from smtpconnector_server.smtp.resolver import IpAddress, Resolver
from smtpconnector_server.smtp.target import PublicTargets, parse_target
from smtpconnector_server.smtp.transaction import Broken, Level
from smtpconnector_server.smtp.transaction import Fault as WireFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CREDENTIALS = Credentials()


def resolving(*addresses: str) -> Resolver:
    return Resolver(lambda _host: tuple(map(ipaddress.ip_address, addresses)))


def failing(error: OSError) -> Resolver:
    def lookup(_host: str) -> Sequence[IpAddress]:
        raise error

    return Resolver(lookup)


def outcomes(report: Report) -> list[tuple[str, str]]:
    return [(step.name, step.status.name) for step in report.steps]


class Tokens:
    """Hands out tokens in order, the last one for ever."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    async def token(self, auth: OAuth2Auth, *, renew: bool) -> Secret:
        if renew and len(self.tokens) > 1:
            self.tokens.pop(0)
        return Secret(self.tokens[0])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Reason.SMTP_DNS_NOT_FOUND),
        (socket.gaierror(socket.EAI_AGAIN, "later"), Reason.SMTP_DNS_TEMPORARY),
    ],
)
@pytest.mark.parametrize("depth", [Depth.RESOLVE, Depth.CONNECT])
async def test_a_name_that_is_not_there_fails_at_resolve(error: OSError, reason: Reason, depth: Depth) -> None:
    server = Server(host="smtp.example.com", port=587, tls_mode=TlsMode.STARTTLS_OFFERED)
    report = await Probe(Opener(Dialer(resolver=failing(error)))).run(server, depth, within=10)
    assert outcomes(report)[0] == ("RESOLVE", "FAILED")
    assert report.failure is not None
    assert report.failure.reason is reason


async def test_tells_every_address_that_was_found() -> None:
    server = Server(host="smtp.example.com", port=587, tls_mode=TlsMode.STARTTLS_OFFERED)
    opener = Opener(Dialer(resolver=resolving("192.0.2.1", "2001:db8::1")))
    report = await Probe(opener).run(server, Depth.RESOLVE, within=10)
    [step] = report.steps
    assert (step.status, step.detail) == (StepStatus.PASSED, "192.0.2.1, 2001:db8::1")


async def test_tells_each_step_when_it_is_done_and_not_at_the_end(server_for: Callable[..., Server]) -> None:
    told: list[str] = []
    seen_by_then: dict[State, list[str]] = {}

    def note(state: State) -> None:
        seen_by_then.setdefault(state, list(told))

    class Watching(SmtpServer):
        def note_arrival(self, state: State) -> None:
            note(state)
            super().note_arrival(state)

    async with Watching(credentials=CREDENTIALS) as smtp:
        await Probe(Opener(Dialer())).run(
            server_for(smtp),
            Depth.ENVELOPE,
            within=10,
            envelope=Envelope(sender="a@b.example", recipient="c@d.example"),
            on_step=lambda step: told.append(step.name),
        )
    assert seen_by_then[State.MAIL] == ["RESOLVE", "CONNECT", "GREETING", "EHLO", "AUTH"]
    assert seen_by_then[State.RCPT] == [*seen_by_then[State.MAIL], "MAIL"]
    assert seen_by_then[State.RSET] == [*seen_by_then[State.RCPT], "RCPT"]


async def test_the_fix_for_gmails_account_password_is_an_app_password(server_for: Callable[..., Server]) -> None:
    async with SmtpServer(tls=server_context(), credentials=CREDENTIALS) as smtp:
        server = server_for(
            smtp,
            host="smtp.gmail.com",
            tls=TlsOptions(ca_pem=authority().cert_pem.bytes().decode(), server_name="mail.example.com"),
            auth=LoginAuth(user=CREDENTIALS.user, password=Secret("the account's own")),
        )
        report = await Probe(Opener(Dialer(resolver=resolving("127.0.0.1")))).run(server, Depth.AUTHENTICATE, within=10)
    [finding] = diagnose(report, server)
    assert finding.field == "auth.pass"
    assert "app password" in finding.hint


async def test_a_certificate_that_ends_soon_is_seen_though_the_login_fails(server_for: Callable[..., Server]) -> None:
    now = dt.datetime.now(dt.UTC)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1", not_after=now + dt.timedelta(days=5)).configure_cert(context)
    async with SmtpServer(tls=context, credentials=CREDENTIALS) as smtp:
        server = server_for(smtp, auth=LoginAuth(user="u", password=Secret("wrong")))
        report = await Probe(Opener(Dialer())).run(server, Depth.AUTHENTICATE, within=10)
    assert [finding.reason for finding in diagnose(report, server)] == [
        "SMTP_AUTH_FAILED",
        "CERTIFICATE_EXPIRES_SOON",
    ]


async def test_shows_the_chain_that_the_server_sends(server_for: Callable[..., Server]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().create_child_ca().issue_cert("127.0.0.1", "*.Example.com").configure_cert(context)
    async with SmtpServer(tls=context) as smtp:
        report = await Probe(Opener(Dialer())).run(server_for(smtp), Depth.CONNECT, within=10)
    shown = report.certificate
    assert shown is not None
    assert len(shown.issuers) == 2
    assert "2 certificates sent" in shown.describe()
    assert [shown.is_for(name) for name in ("127.0.0.1", "mail.example.com", "a.b.example.com", "example.com")] == [
        True,
        True,
        False,
        False,
    ]


async def test_a_server_that_was_stepped_down_shows_its_level(server_for: Callable[..., Server]) -> None:
    async with SmtpServer() as smtp:
        server = server_for(smtp)
        opener = Opener(Dialer())
        assert (await Probe(opener).run(server, Depth.CONNECT, within=10)).level is Level.PIPELINING
        confused = Broken(WireFault.IRREGULAR, Stage.RCPT, "", is_committed=False, blames_level=True)
        opener._levels.learn(server, Level.PIPELINING, confused)
        report = await Probe(opener).run(server, Depth.CONNECT, within=10)
    assert report.level is Level.SERIAL
    assert [finding.reason for finding in diagnose(report, server)] == ["STEPPED_DOWN"]


async def test_a_token_that_was_revoked_is_renewed_as_for_a_mail(server_for: Callable[..., Server]) -> None:
    auth = OAuth2Auth(user=CREDENTIALS.user, source=AccessToken(token=Secret("unused")))
    async with SmtpServer(tls=server_context(), implicit_tls=True, credentials=CREDENTIALS) as smtp:
        opener = Opener(Dialer(), tokens=Tokens("revoked", CREDENTIALS.token))
        report = await Probe(opener).run(server_for(smtp, auth=auth), Depth.AUTHENTICATE, within=10)
        await smtp.all_sessions_ended()
    once = [(name, "PASSED") for name in ("TOKEN", "RESOLVE", "CONNECT", "TLS", "GREETING", "EHLO")]
    assert outcomes(report) == [*once, *once, ("AUTH", "PASSED")]
    assert [session.verbs.count(b"AUTH") for session in smtp.sessions] == [1, 1]


async def test_a_token_that_is_refused_is_not_tried_again(server_for: Callable[..., Server]) -> None:
    auth = OAuth2Auth(user=CREDENTIALS.user, source=AccessToken(token=Secret("unused")))
    async with SmtpServer(tls=server_context(), implicit_tls=True, credentials=CREDENTIALS) as smtp:
        opener = Opener(Dialer(), tokens=Tokens("revoked"))
        report = await Probe(opener).run(server_for(smtp, auth=auth), Depth.AUTHENTICATE, within=10)
        await smtp.all_sessions_ended()
    assert outcomes(report)[-1] == ("AUTH", "FAILED")
    assert [session.verbs.count(b"AUTH") for session in smtp.sessions] == [1]


async def test_the_second_look_at_a_bad_certificate_carries_no_credentials(server_for: Callable[..., Server]) -> None:
    certificate = Certificate.UNKNOWN_CA
    async with SmtpServer(tls=server_context(certificate), implicit_tls=True, credentials=CREDENTIALS) as smtp:
        report = await Probe(Opener(Dialer())).run(server_for(smtp), Depth.AUTHENTICATE, within=10)
        await smtp.all_sessions_ended()
    assert report.certificate is not None
    assert [session.verbs for session in smtp.sessions] == [[], [b"EHLO", b"QUIT"]]


async def test_what_becomes_of_the_farewell_is_no_matter_of_the_check(server_for: Callable[..., Server]) -> None:
    faults = Fault(State.RSET, reply_with(b"421 4.3.2 closing\r\n")), Fault(State.QUIT, stall)
    async with SmtpServer(*faults) as smtp:
        report = await Probe(Opener(Dialer())).run(
            server_for(smtp),
            Depth.ENVELOPE,
            within=10,
            envelope=Envelope(sender="a@b.example", recipient="c@d.example"),
        )
    assert report.failure is None
    assert outcomes(report)[-1] == ("RCPT", "PASSED")


async def test_one_who_may_not_know_is_told_the_same_of_every_name(server_for: Callable[..., Server]) -> None:
    policy = PublicTargets([parse_target("127.0.0.0/8")])
    told: list[ProbeStep] = []
    reports = []
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = Server(host="internal.example", port=closed.getsockname()[1], tls_mode=TlsMode.STARTTLS_OFFERED)
        for resolver in (
            failing(socket.gaierror(socket.EAI_NONAME, "unknown")),
            failing(socket.gaierror(socket.EAI_AGAIN, "later")),
            resolving("127.0.0.1"),
        ):
            probe = Probe(Opener(Dialer(policy=policy, resolver=resolver)))
            began = asyncio.get_running_loop().time()
            reports.append(await probe.run(server, Depth.CONNECT, within=0.3, on_step=told.append))
            assert asyncio.get_running_loop().time() - began >= 0.3  # a quick no is an answer too
    steps = {report.steps for report in reports}
    assert len(steps) == 1
    assert [(step.name, step.status.name) for step in steps.pop()][:2] == [
        ("RESOLVE", "SKIPPED"),
        ("CONNECT", "FAILED"),
    ]
    assert told == []
