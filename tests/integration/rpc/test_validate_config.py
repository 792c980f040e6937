"""ValidateConfig against a live server: the steps it tells, what the server saw, and what callers must not learn."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.certificates import Certificate, ca_pem, server_context
from harness.documents import document_for, plain_templates
from harness.fault import Fault, State, drip, reply_with, stall
from harness.sasl import Credentials
from harness.service import Service, running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import config_pb2, connector_service_pb2, validation_pb2
from smtpconnector.v1.validation_pb2 import (
    DEPTH_AUTHENTICATE,
    DEPTH_CONNECT,
    DEPTH_ENVELOPE,
    DEPTH_RESOLVE,
    DEPTH_SCHEMA,
)
from smtpconnector_server.rpc.plain import to_struct

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from smtpconnector.v1.connector_service_pb2 import ValidateConfigResponse

CREDENTIALS = Credentials()
RECIPIENT = "ada.lovelace@example.org"
WHOLE = ["SCHEMA", "RESOLVE", "CONNECT", "GREETING", "EHLO", "STARTTLS", "TLS", "EHLO", "AUTH", "MAIL", "RCPT"]


def smtp_server(*faults: Fault, tls: str = "starttls", **options: Any) -> SmtpServer:
    certificate = options.pop("certificate", Certificate.GOOD)
    context = None if tls == "none" else server_context(certificate)
    options = {"credentials": CREDENTIALS, **options}
    return SmtpServer(*faults, tls=context, implicit_tls=tls == "implicit", **options)


def document(smtp: SmtpServer, **changes: Any) -> dict[str, Any]:
    auth = {"user": CREDENTIALS.user, "pass": CREDENTIALS.password}
    return document_for(smtp, **{"auth": auth, "tls": {"ca": ca_pem()}, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def serving(smtp: SmtpServer, folder: Path, **changes: Any) -> AsyncIterator[Service]:
    """Serve a profile `default` for a scripted server."""
    async with running_service({"default": document(smtp, **changes)}, folder) as service:
        yield service


def steps(response: ValidateConfigResponse) -> list[tuple[str, str]]:
    return [
        (step.stage, validation_pb2.StepStatus.Name(step.status).removeprefix("STEP_STATUS_"))
        for step in response.steps
    ]


def failed(response: ValidateConfigResponse) -> validation_pb2.Step:
    """The one step that failed; those behind it must be skipped."""
    statuses = [status for _, status in steps(response)]
    index = statuses.index("FAILED")
    assert set(statuses[index + 1 :]) <= {"SKIPPED"}
    assert not response.valid
    return response.steps[index]


def error(response: ValidateConfigResponse) -> validation_pb2.Finding:
    """The one finding that is an error."""
    [found] = [finding for finding in response.findings if finding.severity == validation_pb2.SEVERITY_ERROR]
    return found


def reasons(response: ValidateConfigResponse) -> set[str]:
    return {finding.reason for finding in response.findings}


# What is seen


async def test_looks_as_deep_as_the_envelope_and_sends_nothing(tmp_path: Path) -> None:
    async with smtp_server() as smtp, serving(smtp, tmp_path) as service:
        response = await service.validate(depth=DEPTH_ENVELOPE, to=RECIPIENT)
        await smtp.all_sessions_ended()
    assert response.valid
    assert steps(response) == [(name, "PASSED") for name in WHOLE]
    [session] = smtp.sessions
    assert session.verbs == [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH", b"MAIL", b"RCPT", b"RSET", b"QUIT"]
    assert smtp.ledger == []
    assert all(step.HasField("duration") for step in response.steps)
    details = {step.stage: step.detail for step in response.steps}
    assert details["RESOLVE"] == "127.0.0.1"
    assert details["CONNECT"] == f"127.0.0.1 port {smtp.port}"
    assert details["GREETING"] == "220 mail.example.com ESMTP ready"
    assert details["AUTH"] == "PLAIN, of PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER"
    for fact in ("TLSv1.3", "mail.example.com", "days left", "issued by", "1 certificate sent"):
        assert fact in details["TLS"]
    before, after = [step.detail for step in response.steps if step.stage == "EHLO"]
    assert ("STARTTLS" in before, "AUTH" in before) == (True, False)
    assert ("STARTTLS" in after, "AUTH" in after) == (False, True)
    told = response.capabilities
    assert (told.tls_version, told.max_message_size, told.level) == ("TLSv1.3", 35882577, "PIPELINING")
    assert "PLAIN" in told.auth_mechanisms


@pytest.mark.parametrize(
    ("depth", "last_stage", "verbs"),
    [
        (DEPTH_SCHEMA, "SCHEMA", None),
        (DEPTH_RESOLVE, "RESOLVE", None),
        (DEPTH_CONNECT, "EHLO", [b"EHLO", b"STARTTLS", b"EHLO", b"QUIT"]),
        (DEPTH_AUTHENTICATE, "AUTH", [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH", b"QUIT"]),
    ],
)
async def test_goes_no_deeper_than_asked(
    depth: Any, last_stage: str, verbs: list[bytes] | None, tmp_path: Path
) -> None:
    async with smtp_server() as smtp, serving(smtp, tmp_path) as service:
        response = await service.validate(depth=depth)
        await smtp.all_sessions_ended()
    assert response.valid
    assert response.steps[-1].stage == last_stage
    assert [session.verbs for session in smtp.sessions] == ([verbs] if verbs else [])
    assert response.HasField("capabilities") == bool(verbs)


async def test_never_looks_through_a_connection_of_the_pool(tmp_path: Path) -> None:
    async with smtp_server() as smtp, serving(smtp, tmp_path) as service:
        for _ in range(2):
            await service.send(to=RECIPIENT, type="SignIn", payload=to_struct({"code": "1"}))
            assert (await service.validate(depth=DEPTH_AUTHENTICATE)).valid
        mails, look, second_look = smtp.sessions
        assert mails.verbs.count(b"MAIL") == 2
        assert [look.verbs[-1], second_look.verbs[-1]] == [b"QUIT", b"QUIT"]


# What fails


async def test_a_wrong_password_is_tried_once_and_told_with_its_fix(tmp_path: Path) -> None:
    password = "kR7-not-the-password"
    said = f"535 5.7.8 no: {b64encode(f'{CREDENTIALS.user}{password}'.encode()).decode()} {password}\r\n"
    changes = {"auth": {"user": CREDENTIALS.user, "pass": password}}
    async with (
        smtp_server(Fault(State.AUTH1, reply_with(said.encode()))) as smtp,
        serving(smtp, tmp_path, **changes) as service,
    ):
        response = await service.validate(depth=DEPTH_ENVELOPE, to=RECIPIENT)
        await smtp.all_sessions_ended()
    assert [session.verbs.count(b"AUTH") for session in smtp.sessions] == [1]
    assert failed(response).stage == "AUTH"
    assert steps(response)[-2:] == [("MAIL", "SKIPPED"), ("RCPT", "SKIPPED")]
    finding = error(response)
    assert (finding.field, finding.reason) == ("auth.pass", "SMTP_AUTH_FAILED")
    assert "password" in finding.hint
    assert "535 5.7.8" in failed(response).detail
    assert password not in str(response)
    assert b64encode(password.encode()).decode().rstrip("=")[4:12] not in str(response)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("certificate", "words", "fix"),
    [
        (Certificate.EXPIRED, "expired", "renewed"),
        (Certificate.NOT_YET_VALID, "not yet valid", "clock"),
        (Certificate.WRONG_NAME, "elsewhere.example.com", "elsewhere.example.com"),
        (Certificate.SELF_SIGNED, "self", "tls.ca"),
        (Certificate.UNKNOWN_CA, "issuer", "tls.ca"),
    ],
)
async def test_says_why_a_certificate_is_refused(
    certificate: Certificate, words: str, fix: str, tls: str, tmp_path: Path
) -> None:
    async with (
        smtp_server(tls=tls, certificate=certificate) as smtp,
        serving(smtp, tmp_path, secure=tls == "implicit") as service,
    ):
        response = await service.validate(depth=DEPTH_AUTHENTICATE)
        await smtp.all_sessions_ended()
    assert failed(response).stage == "TLS"
    assert words in failed(response).detail
    finding = error(response)
    assert finding.reason == "SMTP_TLS_CERTIFICATE_INVALID"
    assert "issued by" in finding.message
    assert fix in finding.hint
    assert not any(b"AUTH" in session.verbs for session in smtp.sessions)


@pytest.mark.parametrize("depth", [DEPTH_CONNECT, DEPTH_AUTHENTICATE])
async def test_credentials_that_fit_nothing_on_offer_are_told_without_a_login(depth: Any, tmp_path: Path) -> None:
    async with smtp_server(credentials=None) as smtp, serving(smtp, tmp_path) as service:
        response = await service.validate(depth=depth)
        await smtp.all_sessions_ended()
    assert failed(response).stage == "AUTH"
    assert (error(response).field, error(response).reason) == ("auth", "SMTP_AUTH_UNSUPPORTED")
    assert b"AUTH" not in smtp.sessions[0].verbs


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({}, "SMTP_TLS_REQUIRED_FOR_AUTH"), ({"requireTLS": True}, "SMTP_TLS_REQUIRED")],
)
async def test_says_where_starttls_is_missing_and_logs_in_nowhere(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    async with smtp_server(tls="none") as smtp, serving(smtp, tmp_path, **changes) as service:
        response = await service.validate(depth=DEPTH_AUTHENTICATE)
        await smtp.all_sessions_ended()
    assert failed(response).stage == "STARTTLS"
    assert error(response).reason == reason
    assert b"AUTH" not in smtp.sessions[0].client_octets


@pytest.mark.parametrize(
    ("state", "stage", "field", "reason"),
    [
        (State.MAIL, "MAIL", "fromEmail", "SMTP_SENDER_REJECTED"),
        (State.RCPT, "RCPT", "to", "SMTP_RECIPIENT_REJECTED"),
    ],
)
async def test_a_refused_address_is_told_and_not_named(
    state: State, stage: str, field: str, reason: str, tmp_path: Path
) -> None:
    said = f"550 5.1.{7 if state is State.MAIL else 1} <{RECIPIENT}> is not wanted\r\n".encode()
    async with smtp_server(Fault(state, reply_with(said))) as smtp, serving(smtp, tmp_path) as service:
        response = await service.validate(depth=DEPTH_ENVELOPE, to=RECIPIENT)
        await smtp.all_sessions_ended()
    assert failed(response).stage == stage
    assert "is not wanted" in failed(response).detail
    assert (error(response).field, error(response).reason) == (field, reason)
    assert RECIPIENT not in str(response)
    assert smtp.sessions[0].verbs[-1] == b"QUIT"
    assert b"DATA" not in smtp.sessions[0].verbs


async def test_a_port_that_waits_for_tls_is_found_out_long_before_the_greetings_time_is_over(tmp_path: Path) -> None:
    async with smtp_server(tls="implicit") as smtp, serving(smtp, tmp_path, secure=False) as service:
        response = await service.validate(depth=DEPTH_AUTHENTICATE, within=30)
        await smtp.all_sessions_ended()
    assert failed(response).stage == "GREETING"
    assert failed(response).duration.ToTimedelta().total_seconds() < 15  # without the question it would be 22
    assert "secure: true" in error(response).message
    assert (error(response).field, error(response).reason) == ("secure", "SMTP_TLS_PROTOCOL_MISMATCH")
    assert not any(b"AUTH" in session.verbs for session in smtp.sessions)


async def test_a_port_that_begins_in_plain_text_is_found_out_at_once(tmp_path: Path) -> None:
    async with smtp_server(tls="starttls") as smtp, serving(smtp, tmp_path, secure=True) as service:
        response = await service.validate(depth=DEPTH_AUTHENTICATE)
    assert failed(response).stage == "TLS"
    assert "secure: false" in error(response).message
    assert error(response).field == "secure"


async def test_nothing_listens_there(tmp_path: Path) -> None:
    async with smtp_server() as smtp:
        pass
    async with serving(smtp, tmp_path) as service:
        response = await service.validate(depth=DEPTH_ENVELOPE, to=RECIPIENT)
    assert failed(response).stage == "CONNECT"
    assert (error(response).field, error(response).reason) == ("port", "SMTP_CONNECT_FAILED")
    assert not response.HasField("capabilities")


# Warnings


async def test_what_is_not_safe_and_what_is_slow_is_told_of_a_server_that_works(tmp_path: Path) -> None:
    changes = {"ignoreTLS": True}
    async with (
        smtp_server(extensions=(), auth_in_clear=True) as smtp,
        serving(smtp, tmp_path, **changes) as service,
    ):
        response = await service.validate(depth=DEPTH_AUTHENTICATE)
    assert response.valid
    assert reasons(response) == {"CLEARTEXT_CREDENTIALS", "STARTTLS_NOT_USED", "NO_PIPELINING", "NO_SMTPUTF8"}
    severities = [finding.severity for finding in response.findings]
    assert severities == sorted(severities)
    assert response.capabilities.level == "SERIAL"


# Time


async def test_a_silent_server_is_told_before_the_callers_deadline(tmp_path: Path) -> None:
    async with smtp_server(Fault(State.EHLO, stall)) as smtp, serving(smtp, tmp_path) as service:
        response = await service.validate(depth=DEPTH_AUTHENTICATE, within=2)
    assert steps(response)[:4] == [
        ("SCHEMA", "PASSED"),
        ("RESOLVE", "PASSED"),
        ("CONNECT", "PASSED"),
        ("GREETING", "PASSED"),
    ]
    assert failed(response).stage == "EHLO"
    assert "did not answer" in failed(response).detail


async def test_time_that_runs_out_under_way_is_told_with_the_steps_so_far(tmp_path: Path) -> None:
    # The greeting takes a part of the time that the silence after it cannot take any more.
    faults = Fault(State.GREETING, drip(0.02)), Fault(State.EHLO, stall)
    async with smtp_server(*faults) as smtp, serving(smtp, tmp_path) as service:
        response = await service.validate(depth=DEPTH_AUTHENTICATE, within=2.2)
    assert failed(response).stage == "EHLO"
    assert "ran out" in failed(response).detail
    assert error(response).reason == "DEADLINE_EXCEEDED"


async def test_a_caller_who_gives_up_ends_the_look(tmp_path: Path) -> None:
    async with smtp_server(Fault(State.EHLO, stall)) as smtp, serving(smtp, tmp_path) as service:
        request = connector_service_pb2.ValidateConfigRequest(depth=DEPTH_CONNECT)
        call = service.stub.ValidateConfig(request, timeout=30)
        await smtp.reached(State.EHLO)
        call.cancel()
        await asyncio.wait_for(smtp.all_sessions_ended(), 10)
        with pytest.raises(asyncio.CancelledError):
            await call


# The request


@pytest.mark.parametrize(
    ("depth", "to"),
    [
        (DEPTH_ENVELOPE, ""),
        (DEPTH_ENVELOPE, "ada"),
        (DEPTH_ENVELOPE, "Ada <ada@example.org>"),
        (DEPTH_ENVELOPE, "ada@example.org\r\nDATA"),
        (DEPTH_ENVELOPE, "ada@example.org>\r\nRCPT TO:<eve@example.org"),
        (DEPTH_AUTHENTICATE, RECIPIENT),
        (DEPTH_SCHEMA, RECIPIENT),
    ],
)
async def test_a_recipient_goes_with_the_envelope_and_only_with_it(depth: Any, to: str, tmp_path: Path) -> None:
    async with smtp_server() as smtp, serving(smtp, tmp_path) as service:
        refused = await service.validate_refused(depth=depth, to=to)
    assert (refused.code, refused.reason, refused.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        ["to"],
    )
    assert smtp.sessions == []


async def test_a_wrong_configuration_is_not_tried(tmp_path: Path) -> None:
    async with smtp_server() as smtp, serving(smtp, tmp_path) as service:
        config = config_pb2.ConnectorConfig(document=to_struct(document(smtp, fromEmail="nobody")))
        response = await service.validate(config=config, depth=DEPTH_ENVELOPE, to=RECIPIENT)
    assert failed(response).stage == "SCHEMA"
    assert error(response).field == "fromEmail"
    assert {"RESOLVE", "CONNECT", "AUTH", "MAIL", "RCPT"} <= {stage for stage, _ in steps(response)}
    assert smtp.sessions == []


async def test_a_typed_configuration_is_told_in_its_own_words(tmp_path: Path) -> None:
    async with smtp_server(credentials=None) as smtp, serving(smtp, tmp_path) as service:
        smtp_config = config_pb2.SmtpConfig(
            host=smtp.host,
            port=smtp.port,
            tls=config_pb2.TlsOptions(ca_pem=ca_pem()),
            login=config_pb2.LoginAuth(user="u", password="p"),
            from_email="sender@example.com",
            templates=[
                config_pb2.Template(usage_type=template["usageType"], subject="s", content="{{code}}")
                for template in plain_templates()
            ],
        )
        config = config_pb2.ConnectorConfig(smtp=smtp_config)
        response = await service.validate(config=config, depth=DEPTH_AUTHENTICATE)
    assert (error(response).field, error(response).reason) == ("login", "SMTP_AUTH_UNSUPPORTED")


# Targets that callers name (threat N3)


@asynccontextmanager
async def discreet(smtp: Any, folder: Path, **changes: Any) -> AsyncIterator[Any]:
    """Serve, and yield a check of a caller's own configuration.

    The name `localhost` leads to an allowed network and is not itself allowed: so callers may connect to it, and are
    not told more than of any other target.
    """
    async with running_service({}, folder) as service:
        own = document(smtp, host="localhost", **changes)
        config = config_pb2.ConnectorConfig(document=to_struct(own))
        yield lambda **fields: service.validate(config=config, **fields)


async def answer_to_a_caller(smtp: Any, folder: Path, **changes: Any) -> tuple[str, str, str]:
    """What a caller is told of a server that never greets him: detail, reason, hint."""

    async with discreet(smtp, folder, **changes) as validate:
        response = await validate(depth=DEPTH_CONNECT, within=1)
    assert failed(response).stage == "CONNECT"
    assert not response.HasField("capabilities")
    assert failed(response).duration.ToTimedelta().total_seconds() > 0.5  # no fault is told at once
    assert "127.0.0.1" not in str(response)
    return failed(response).detail.replace(str(smtp.port), "PORT"), error(response).reason, error(response).hint


async def test_every_fault_of_a_connection_reads_the_same_to_a_caller(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen, so connections are refused
        async with (
            smtp_server(Fault(State.GREETING, stall)) as silent,
            smtp_server(Fault(State.GREETING, reply_with(b"SSH-2.0-OpenSSH_9.9\r\n"))) as another,
            smtp_server(Fault(State.GREETING, reply_with(b"554 5.7.1 relay of Example Inc\r\n"))) as refusing,
            smtp_server(tls="implicit") as waiting_for_tls,
            smtp_server(tls="implicit", certificate=Certificate.EXPIRED) as expired,
        ):
            nothing = SimpleNamespace(host="127.0.0.1", port=closed.getsockname()[1])
            answers = await asyncio.gather(
                *(
                    answer_to_a_caller(smtp, tmp_path, secure=smtp is expired)
                    for smtp in (silent, another, refusing, waiting_for_tls, expired, nothing)
                )
            )
    assert len(set(answers)) == 1


async def test_a_caller_learns_of_a_working_server_what_he_needs_and_no_more(tmp_path: Path) -> None:
    async with smtp_server() as smtp, discreet(smtp, tmp_path) as validate:
        response = await validate(depth=DEPTH_ENVELOPE, to=RECIPIENT)
    assert response.valid
    assert [stage for stage, _ in steps(response)] == WHOLE
    assert response.capabilities.tls_version == "TLSv1.3"
    for hidden in ("127.0.0.1", "ESMTP ready", "Sender ok", "certificate for"):
        assert hidden not in str(response.steps)


async def test_a_caller_learns_why_a_server_refuses_his_password(tmp_path: Path) -> None:
    wrong = {"user": CREDENTIALS.user, "pass": "wrong"}
    async with smtp_server() as smtp, discreet(smtp, tmp_path, auth=wrong) as validate:
        response = await validate(depth=DEPTH_AUTHENTICATE)
    assert error(response).reason == "SMTP_AUTH_FAILED"
    assert "credentials invalid" not in str(response)


async def test_a_caller_learns_that_a_certificate_is_refused_and_not_whose_it_is(tmp_path: Path) -> None:
    async with smtp_server(certificate=Certificate.EXPIRED) as smtp, discreet(smtp, tmp_path) as validate:
        response = await validate(depth=DEPTH_AUTHENTICATE)
    assert error(response).reason == "SMTP_TLS_CERTIFICATE_INVALID"
    assert "issued by" not in str(response)
    assert len(smtp.sessions) == 1


async def test_a_target_that_is_not_allowed_is_a_finding(tmp_path: Path) -> None:
    async with smtp_server() as smtp, running_service({}, tmp_path, allow_target=()) as service:
        config = config_pb2.ConnectorConfig(document=to_struct(document(smtp)))
        response = await service.validate(config=config, depth=DEPTH_CONNECT)
    assert error(response).reason == "EGRESS_DENIED"
    assert smtp.sessions == []
