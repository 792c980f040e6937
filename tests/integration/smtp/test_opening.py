from __future__ import annotations

import asyncio
import hmac
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.certificates import Certificate, server_context
from harness.fault import (
    MALFORMED,
    Action,
    Fault,
    State,
    close,
    endless,
    followed_by,
    reply_with,
    reset,
    stall,
    then_in_next_segment,
    together_with_next,
)
from harness.oracle import violations
from harness.sasl import CRAM_CHALLENGE, Credentials
from harness.smtp_server import SmtpServer
from smtpconnector_server.config.model import (
    AccessToken,
    LoginAuth,
    LoginMechanism,
    OAuth2Auth,
    Server,
    Timeouts,
    TlsMode,
    TlsOptions,
    TlsVersion,
    TokenMechanism,
)
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.opening import Opener

if TYPE_CHECKING:
    import socket

    from smtpconnector_server.smtp.dialogue import Sight

ServerFor = Callable[..., Server]
Login = Callable[..., LoginAuth]
CREDENTIALS = Credentials()


def smtp_server(
    *faults: Fault, tls: str = "plain", certificate: Certificate = Certificate.GOOD, **options: object
) -> SmtpServer:
    context = None if tls == "plain" else server_context(certificate)
    return SmtpServer(*faults, tls=context, implicit_tls=tls == "implicit", **options)  # type: ignore[arg-type]


async def failure_of(opening: Awaitable[object]) -> Failure:
    with pytest.raises(Failure) as raised:
        await opening
    assert raised.value.outcome in {Outcome.NOT_SENT, Outcome.REJECTED}
    return raised.value


class Tokens:
    """Hands out tokens in order, the last one for ever."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.asked: list[bool] = []

    async def token(self, auth: OAuth2Auth, *, renew: bool) -> Secret:
        self.asked.append(renew)
        if renew and len(self.tokens) > 1:
            self.tokens.pop(0)
        return Secret(self.tokens[0])


def oauth(mechanism: TokenMechanism | None = None) -> OAuth2Auth:
    return OAuth2Auth(user=CREDENTIALS.user, source=AccessToken(token=Secret(CREDENTIALS.token)), mechanism=mechanism)


# What is said


@pytest.mark.parametrize("mechanism", LoginMechanism)
@pytest.mark.parametrize("tls", ["plain", "starttls", "implicit"])
async def test_logs_in_by_each_mechanism_with_each_kind_of_tls(
    tls: str, mechanism: LoginMechanism, opener: Opener, server_for: ServerFor, login: Login
) -> None:
    async with smtp_server(tls=tls, credentials=CREDENTIALS) as smtp:
        session = await opener.open(server_for(smtp, auth=login(mechanism)))
        assert session.capabilities.tls_version == ("" if tls == "plain" else "TLSv1.3")
        assert mechanism.value in session.capabilities.auth_mechanisms
        assert session.capabilities.pipelining
        session.wire.abort("done")
        await smtp.all_sessions_ended()
        [seen] = smtp.sessions
        starttls = [b"STARTTLS", b"EHLO"] if tls == "starttls" else []
        assert seen.verbs == [b"EHLO", *starttls, b"AUTH"]
        assert seen.commands[0].line == b"EHLO client.example"
        assert not violations(seen, clear_auth_allowed=tls == "plain")


@pytest.mark.parametrize("mechanism", TokenMechanism)
async def test_logs_in_with_a_token(mechanism: TokenMechanism, server_for: ServerFor) -> None:
    tokens = Tokens(CREDENTIALS.token)
    async with smtp_server(tls="implicit", credentials=CREDENTIALS) as smtp:
        session = await Opener(Dialer(), tokens=tokens).open(server_for(smtp, auth=oauth(mechanism)))
        session.wire.abort("done")
        assert tokens.asked == [False]
        assert smtp.sessions[0].commands[-1].line.startswith(b"AUTH " + mechanism.value.encode())


async def test_a_long_token_follows_the_challenge(server_for: ServerFor) -> None:
    credentials = Credentials(token="t" * 2000)
    async with smtp_server(tls="implicit", credentials=credentials) as smtp:
        session = await Opener(Dialer(), tokens=Tokens(credentials.token)).open(server_for(smtp, auth=oauth()))
        session.wire.abort("done")
        await smtp.all_sessions_ended()
        assert smtp.sessions[0].commands[-1].line == b"AUTH XOAUTH2"
        assert not violations(smtp.sessions[0])


async def test_renews_a_refused_token_once_on_a_connection_of_its_own(server_for: ServerFor) -> None:
    tokens = Tokens("revoked", CREDENTIALS.token)
    async with smtp_server(tls="implicit", credentials=CREDENTIALS) as smtp:
        session = await Opener(Dialer(), tokens=tokens).open(server_for(smtp, auth=oauth()))
        session.wire.abort("done")
        assert tokens.asked == [False, True]
        assert [seen.verbs.count(b"AUTH") for seen in smtp.sessions] == [1, 1]


async def test_sends_the_same_token_only_once(server_for: ServerFor) -> None:
    async with smtp_server(tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(Opener(Dialer(), tokens=Tokens("revoked")).open(server_for(smtp, auth=oauth())))
        assert failure.reason is Reason.SMTP_AUTH_FAILED
        assert len(smtp.sessions) == 1


async def test_needs_a_provider_for_tokens(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, auth=oauth())))
        assert (failure.reason, failure.stage) == (Reason.NOT_IMPLEMENTED, Stage.AUTH)


async def test_tells_each_step_when_it_is_done(opener: Opener, server_for: ServerFor) -> None:
    steps: list[tuple[Stage, Sight]] = []
    async with smtp_server(tls="starttls", credentials=CREDENTIALS) as smtp:
        session = await opener.open(server_for(smtp), on_step=lambda *step: steps.append(step))
        session.wire.abort("done")
    assert [stage for stage, _ in steps] == [
        Stage.RESOLVE,
        Stage.CONNECT,
        Stage.GREETING,
        Stage.EHLO,
        Stage.STARTTLS,
        Stage.TLS,
        Stage.EHLO,
        Stage.AUTH,
    ]
    seen = dict(steps)
    assert seen[Stage.CONNECT] == f"127.0.0.1 port {smtp.port}"
    assert str(seen[Stage.GREETING]).startswith("220 ")
    assert isinstance(seen[Stage.TLS], ssl.SSLObject)
    assert seen[Stage.EHLO] == session.capabilities
    assert seen[Stage.AUTH] == "PLAIN"


async def test_can_look_at_a_server_without_logging_in(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(tls="implicit", credentials=CREDENTIALS) as smtp:
        session = await opener.open(server_for(smtp), authenticate=False)
        session.wire.abort("done")
        assert smtp.sessions[0].verbs == [b"EHLO"]


async def test_gives_an_address_literal_or_a_domain_for_its_own_name(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server() as smtp:
        session = await opener.open(server_for(smtp, client_hostname=None))
        session.wire.abort("done")
        name = smtp.sessions[0].commands[0].line.removeprefix(b"EHLO ")
        assert name == b"[127.0.0.1]" or b"." in name


# TLS


async def test_does_not_go_on_without_starttls_where_it_is_required(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, tls_mode=TlsMode.STARTTLS_REQUIRED)))
        await smtp.all_sessions_ended()
        assert failure.reason is Reason.SMTP_TLS_REQUIRED
        assert smtp.sessions[0].verbs == [b"EHLO"]


async def test_sends_no_credentials_in_the_clear_unless_told_to(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, tls_mode=TlsMode.STARTTLS_OFFERED)))
        await smtp.all_sessions_ended()
        assert failure.reason is Reason.SMTP_TLS_REQUIRED_FOR_AUTH
        assert b"AUTH" not in smtp.sessions[0].client_octets


async def test_goes_on_in_the_clear_without_credentials_where_starttls_is_not_offered(
    opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server() as smtp:
        session = await opener.open(server_for(smtp, tls_mode=TlsMode.STARTTLS_OFFERED))
        session.wire.abort("done")


async def test_starts_tls_where_it_is_offered(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(tls="starttls") as smtp:
        session = await opener.open(server_for(smtp, tls_mode=TlsMode.STARTTLS_OFFERED))
        assert session.capabilities.tls_version
        assert not session.capabilities.starttls
        session.wire.abort("done")


async def test_never_starts_tls_where_it_is_switched_off(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(tls="starttls") as smtp:
        session = await opener.open(server_for(smtp, tls_mode=TlsMode.DISABLED))
        assert not session.capabilities.tls_version
        session.wire.abort("done")


@pytest.mark.parametrize(
    ("state", "inject"),
    [
        (State.STARTTLS, followed_by(b"250-mail.example.com\r\n250 AUTH PLAIN\r\n")),
        (State.STARTTLS, followed_by(b"25")),
        (State.STARTTLS, followed_by(b"\x16\x03\x01")),
        (State.STARTTLS, then_in_next_segment(b"250 AUTH PLAIN\r\n")),
        (State.EHLO, followed_by(b"220 go ahead\r\n")),
        (State.EHLO, together_with_next(b"220 go ahead\r\n")),
        (State.GREETING, followed_by(b"250 AUTH PLAIN\r\n")),
    ],
)
async def test_aborts_when_somebody_speaks_between_starttls_and_tls(
    state: State, inject: Action, opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server(Fault(state, inject), tls="starttls", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp)))
        await smtp.all_sessions_ended()
        assert failure.reason in {Reason.SMTP_PROTOCOL_ERROR, Reason.SMTP_TLS_PROTOCOL_MISMATCH}
        assert b"AUTH" not in smtp.sessions[0].verbs
        assert smtp.sessions[0].verbs.count(b"EHLO") <= 1


@pytest.mark.parametrize("certificate", [bad for bad in Certificate if bad is not Certificate.GOOD])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_says_what_is_wrong_with_a_certificate(
    tls: str, certificate: Certificate, opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server(tls=tls, certificate=certificate, credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp)))
        await smtp.all_sessions_ended()
        assert (failure.reason, failure.stage) == (Reason.SMTP_TLS_CERTIFICATE_INVALID, Stage.TLS)
        assert b"AUTH" not in smtp.sessions[0].verbs
    words = {
        Certificate.WRONG_NAME: "mismatch",
        Certificate.EXPIRED: "has expired",
        Certificate.NOT_YET_VALID: "not yet valid",
        Certificate.SELF_SIGNED: "self-signed",
        Certificate.UNKNOWN_CA: "unable to get local issuer",
    }
    assert words[certificate] in failure.message


async def test_checks_the_certificate_for_the_name_it_was_told(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(tls="implicit") as smtp:
        options = server_for(smtp).tls
        session = await opener.open(server_for(smtp, tls=replace(options, server_name="mail.example.com")))
        session.wire.abort("done")
        failure = await failure_of(opener.open(server_for(smtp, tls=replace(options, server_name="other.example"))))
        assert failure.reason is Reason.SMTP_TLS_CERTIFICATE_INVALID


async def test_takes_any_certificate_only_when_told_to(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(tls="implicit", certificate=Certificate.SELF_SIGNED) as smtp:
        session = await opener.open(server_for(smtp, tls=TlsOptions(verify=False)))
        session.wire.abort("done")


async def test_notices_plain_text_where_tls_was_expected(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server() as smtp:
        failure = await failure_of(opener.open(server_for(smtp, tls_mode=TlsMode.IMPLICIT)))
        assert failure.reason is Reason.SMTP_TLS_PROTOCOL_MISMATCH
        assert "secure: false" in failure.message


async def test_notices_tls_where_plain_text_was_expected(opener: Opener, server_for: ServerFor) -> None:
    alert = reply_with(b"\x15\x03\x01\x00\x02\x02\x46")
    async with smtp_server(Fault(State.GREETING, alert)) as smtp:
        failure = await failure_of(opener.open(server_for(smtp)))
        assert failure.reason is Reason.SMTP_TLS_PROTOCOL_MISMATCH
        assert "secure: true" in failure.message


async def test_notices_that_no_version_of_tls_is_common(opener: Opener, server_for: ServerFor) -> None:
    context = server_context(Certificate.UNKNOWN_CA)
    options = TlsOptions(verify=False, max_version=TlsVersion.TLS_1_2)
    lowest = context.minimum_version
    context.minimum_version = context.maximum_version
    try:
        async with SmtpServer(tls=context, implicit_tls=True) as smtp:
            failure = await failure_of(opener.open(server_for(smtp, tls=options)))
    finally:
        context.minimum_version = lowest
    assert failure.reason is Reason.SMTP_TLS_PROTOCOL_MISMATCH
    assert "version of TLS" in failure.message


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(("action", "words"), [(stall, "took too long"), (close, "broke"), (reset, "broke")])
async def test_gives_up_a_handshake_that_does_not_end(
    tls: str, action: Action, words: str, opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server(Fault(State.TLS, action), tls=tls) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, timeouts=Timeouts(connection=0.2))))
        await smtp.all_sessions_ended()
        assert (failure.reason, failure.stage) == (Reason.SMTP_TLS_TEMPORARY, Stage.TLS)
        assert words in failure.message


async def test_tls_options_that_cannot_be_used_are_the_configurations_fault(
    opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server(tls="implicit") as smtp:
        failure = await failure_of(opener.open(server_for(smtp, tls=TlsOptions(ca_pem="/etc/passwd"))))
        assert failure.reason is Reason.INVALID_CONFIG
        assert not smtp.sessions


# Greeting and EHLO


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (reply_with(b"421 4.3.2 busy\r\n"), Reason.SMTP_SERVICE_UNAVAILABLE),
        (reply_with(b"554 5.7.1 blocked\r\n"), Reason.SMTP_CONNECTION_REJECTED),
        (reply_with(b"354 go\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (close, Reason.SMTP_CONNECTION_LOST),
        (reset, Reason.SMTP_CONNECTION_LOST),
        (endless(b"220-hello there\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (endless(b"220 " + b"x" * 1000), Reason.SMTP_PROTOCOL_ERROR),
        *(
            (reply_with(octets), Reason.SMTP_PROTOCOL_ERROR)
            for what, octets in MALFORMED.items()
            if what != "a TLS alert"
        ),
    ],
)
async def test_takes_only_a_greeting_for_a_greeting(
    action: Action, reason: Reason, opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server(Fault(State.GREETING, action)) as smtp:
        failure = await failure_of(opener.open(server_for(smtp)))
        await smtp.all_sessions_ended()
        assert (failure.reason, failure.stage) == (reason, Stage.GREETING)
        assert smtp.sessions[0].client_octets == b""


async def test_waits_for_a_greeting_no_longer_than_it_was_told(opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(Fault(State.GREETING, stall)) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, timeouts=Timeouts(greeting=0.1))))
        assert failure.reason is Reason.SMTP_GREETING_TIMEOUT
        assert "expects TLS" not in failure.message


async def test_a_silent_port_465_is_told_to_want_tls(server_for: ServerFor) -> None:
    class Redirected(Dialer):
        async def dial(self, server: Server, *_: object) -> socket.socket:
            return await super().dial(replace(server, port=smtp.port))

    async with smtp_server(tls="implicit") as smtp:
        server = server_for(smtp, tls_mode=TlsMode.STARTTLS_OFFERED, port=465, timeouts=Timeouts(greeting=0.1))
        failure = await failure_of(Opener(Redirected()).open(server))
        assert failure.reason is Reason.SMTP_GREETING_TIMEOUT
        assert "secure: true" in failure.message


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (reply_with(b"421 4.3.2 closing\r\n"), Reason.SMTP_SERVICE_UNAVAILABLE),
        (reply_with(b"501 5.5.4 bad name\r\n"), Reason.SMTP_CONNECTION_REJECTED),
        (reply_with(b"354 go\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (followed_by(b"250 extra\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (close, Reason.SMTP_CONNECTION_LOST),
        (endless(b"250-X-KEYWORD\r\n"), Reason.SMTP_PROTOCOL_ERROR),
    ],
)
async def test_takes_only_a_reply_to_ehlo_for_one(
    action: Action, reason: Reason, opener: Opener, server_for: ServerFor
) -> None:
    async with smtp_server(Fault(State.EHLO, action), tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp)))
        await smtp.all_sessions_ended()
        assert (failure.reason, failure.stage) == (reason, Stage.EHLO)
        assert b"AUTH" not in smtp.sessions[0].verbs


async def test_says_helo_to_an_old_server_only_where_nothing_is_needed_of_ehlo(
    opener: Opener, server_for: ServerFor, login: Login
) -> None:
    heard: list[bytes] = []

    async def old_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 old\r\n")
        with suppress(ConnectionError), closing(writer):
            while line := await reader.readline():
                heard.append(line)
                writer.write(b"250 old\r\n" if line.startswith(b"HELO") else b"502 what\r\n")

    listener = await asyncio.start_server(old_server, "127.0.0.1", 0)
    async with listener, smtp_server() as smtp:
        port = listener.sockets[0].getsockname()[1]
        session = await opener.open(server_for(smtp, port=port))
        assert not session.capabilities.extensions
        session.wire.abort("done")
        for changes in ({"auth": login()}, {"tls_mode": TlsMode.STARTTLS_REQUIRED}):
            failure = await failure_of(opener.open(server_for(smtp, port=port, **changes)))
            assert failure.reason is Reason.SMTP_CONNECTION_REJECTED
    assert heard == [b"EHLO client.example\r\n", b"HELO client.example\r\n"] + [b"EHLO client.example\r\n"] * 2


# AUTH


async def test_tries_a_wrong_password_once(opener: Opener, server_for: ServerFor, login: Login) -> None:
    async with smtp_server(tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, auth=login(password="wrong"))))
        await smtp.all_sessions_ended()
        assert (failure.reason, failure.outcome) == (Reason.SMTP_AUTH_FAILED, Outcome.REJECTED)
        assert failure.reply is not None
        assert (failure.reply.code, failure.reply.enhanced_code) == (535, "5.7.8")
        assert smtp.sessions[0].verbs.count(b"AUTH") == 1
        assert len(smtp.sessions) == 1


@pytest.mark.parametrize("tls", ["plain", "implicit"])
async def test_does_not_go_on_where_auth_is_not_offered(
    tls: str, opener: Opener, server_for: ServerFor, login: Login
) -> None:
    async with smtp_server(tls=tls) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, auth=login())))
        assert failure.reason is Reason.SMTP_AUTH_UNSUPPORTED
        assert smtp.sessions[0].verbs == [b"EHLO"]


@pytest.mark.parametrize(
    ("mechanism", "action", "reason"),
    [
        (LoginMechanism.PLAIN, reply_with(b"454 4.7.0 temporary\r\n"), Reason.SMTP_AUTH_TEMPORARY),
        (LoginMechanism.PLAIN, reply_with(b"454 4.7.0 Too many login attempts\r\n"), Reason.SMTP_RATE_LIMITED),
        (LoginMechanism.PLAIN, reply_with(b"421 4.3.2 closing\r\n"), Reason.SMTP_SERVICE_UNAVAILABLE),
        (LoginMechanism.PLAIN, reply_with(b"334 \r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (LoginMechanism.CRAM_MD5, reply_with(b"334 <not base64>\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (LoginMechanism.PLAIN, followed_by(b"250 extra\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (LoginMechanism.PLAIN, reply_with(b"25 ok\r\n"), Reason.SMTP_PROTOCOL_ERROR),
        (LoginMechanism.PLAIN, close, Reason.SMTP_CONNECTION_LOST),
    ],
)
async def test_takes_only_a_yes_for_a_yes(
    mechanism: LoginMechanism, action: Action, reason: Reason, opener: Opener, server_for: ServerFor, login: Login
) -> None:
    async with smtp_server(Fault(State.AUTH1, action), tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, auth=login(mechanism))))
        assert (failure.reason, failure.stage) == (reason, Stage.AUTH)


async def test_ends_a_server_that_asks_again_and_again(opener: Opener, server_for: ServerFor, login: Login) -> None:
    async with smtp_server(
        Fault(State.AUTH2, reply_with(b"334 \r\n")), tls="implicit", credentials=CREDENTIALS
    ) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, auth=login(LoginMechanism.CRAM_MD5))))
        assert failure.reason is Reason.SMTP_PROTOCOL_ERROR


async def test_shows_no_credential_that_a_server_echoes(opener: Opener, server_for: ServerFor) -> None:
    encoded = b64encode(f"\0{CREDENTIALS.user}\0{CREDENTIALS.password}".encode())
    echo = reply_with(b"535 5.7.8 bad line: AUTH PLAIN %b / %b\r\n" % (encoded, CREDENTIALS.password.encode()))
    async with smtp_server(Fault(State.AUTH1, echo), tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp)))
        assert failure.reply is not None
        assert "bad line" in failure.reply.text
        for shown in (failure.reply.text, failure.message, repr(failure)):
            assert CREDENTIALS.password not in shown
            assert encoded.decode()[:20] not in shown


async def test_shows_no_answer_to_a_challenge_that_a_server_echoes(
    opener: Opener, server_for: ServerFor, login: Login
) -> None:
    digest = hmac.new(CREDENTIALS.password.encode(), CRAM_CHALLENGE, "md5").hexdigest()
    encoded = b64encode(f"{CREDENTIALS.user} {digest}".encode()).decode()
    echo = reply_with(f"535 5.7.8 bad line: {encoded} / {digest}\r\n".encode())
    async with smtp_server(Fault(State.AUTH2, echo), tls="implicit", credentials=CREDENTIALS) as smtp:
        failure = await failure_of(opener.open(server_for(smtp, auth=login(LoginMechanism.CRAM_MD5))))
        assert failure.reply is not None
        assert failure.reply.text.startswith("bad line: ")
        assert digest[:8] not in failure.reply.text
        assert encoded[-12:] not in failure.reply.text


# Cancellation


@pytest.mark.parametrize(
    "state", [State.CONNECT, State.GREETING, State.EHLO, State.STARTTLS, State.TLS, State.EHLO2, State.AUTH1]
)
async def test_a_cancelled_opening_leaves_no_connection(state: State, opener: Opener, server_for: ServerFor) -> None:
    async with smtp_server(Fault(state, stall), tls="starttls", credentials=CREDENTIALS) as smtp:
        opening = asyncio.create_task(opener.open(server_for(smtp)))
        await smtp.reached(state)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await smtp.all_sessions_ended()
        assert b"QUIT" not in smtp.sessions[0].verbs
