"""Each example against the real service: what it does, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from harness.documents import document_for
from harness.fake_connector import Break, Relay, Script, failure, serving_in_loop
from harness.fault import Fault, State, close, reply_with, stall
from harness.inbox import Inbox
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.example import Example, Program

pytestmark = pytest.mark.examples

DOWN_SECONDS = 1.5
ACCEPTED, REFUSED, USAGE, UNCERTAIN, TRY_LATER = 0, 1, 2, 3, 4


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


async def test_sends_the_code(program: Program, inbox: Inbox, tmp_path: Path) -> None:
    async with running_service({"default": document_for(inbox)}, tmp_path) as service:
        ended = await program.send(service.address, to="grace@example.com", code="135791")
    assert (ended.exit_code, ended.errors) == (ACCEPTED, "")
    [mail] = inbox.mails
    assert mail.recipients == ("grace@example.com",)
    assert mail.message["Subject"] == "SignIn 135791"
    assert ended.output.splitlines() == [
        "Accepted by 127.0.0.1: 250 Taken",
        f"Message-ID: {mail.message['Message-ID']}",
    ]


async def test_names_the_field_that_is_wrong(program: Program, inbox: Inbox, tmp_path: Path) -> None:
    async with running_service({"default": document_for(inbox)}, tmp_path) as service:
        ended = await program.send(service.address, to="nobody")
    assert ended.exit_code == REFUSED
    what, todo = ended.errors.splitlines()
    assert what == "Not sent: to: has no @: it must be one address such as user@example.com [INVALID_REQUEST]"
    assert todo == "What to do: correct the request; the same one fails again."
    assert not inbox.mails


async def test_tells_a_mailbox_that_does_not_exist(program: Program, tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, reply_with(b"550 5.1.1 No such user\r\n"))) as provider,
        running_service({"default": document_for(provider)}, tmp_path) as service,
    ):
        ended = await program.send(service.address)
    assert ended.exit_code == REFUSED
    what, field, todo = ended.errors.splitlines()
    assert "550 5.1.1" in what
    assert "[SMTP_RECIPIENT_REJECTED]" in what
    assert field.startswith("  to: ")
    assert "correct the request" in todo


async def test_an_uncertain_delivery_is_a_case_of_its_own_and_never_repeated(program: Program, tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.ACCEPTED, close)) as provider,
        running_service({"default": document_for(provider)}, tmp_path) as service,
    ):
        ended = await program.send(service.address)
        assert len(provider.ledger) == 1
    assert ended.exit_code == UNCERTAIN
    what, todo = ended.errors.splitlines()
    assert what.startswith("Perhaps sent: ")
    assert what.endswith(" [DELIVERY_UNCERTAIN]")
    assert "ask the recipient" in todo


async def test_a_service_that_is_down_and_comes_back_gets_the_call(
    program: Program, inbox: Inbox, secured: dict[str, Any], ca_file: str, token: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as down:
        down.setblocking(False)  # noqa: FBT003 - the standard library's signature
        port = down.getsockname()[1]
        call = asyncio.create_task(program.send(f"localhost:{port}", "--tls-ca", ca_file, "--token", token))
        attempt, _ = await asyncio.get_running_loop().sock_accept(down)
    with attempt:  # ends without a word when the service is up again
        service = running_service({"default": document_for(inbox)}, tmp_path, listen=f"127.0.0.1:{port}", **secured)
        await service.__aenter__()
        # Longer than gRPC's pause after a failed connection, which can outlast the retries of the Python client.
        await asyncio.sleep(DOWN_SECONDS)
    try:
        ended = await call
    finally:
        await service.__aexit__(None, None, None)
    assert (ended.exit_code, ended.errors) == (ACCEPTED, "")
    assert len(inbox.mails) == 1


async def test_tries_again_while_the_provider_is_unavailable_and_says_when(example: Example, program: Program) -> None:
    script = Script()
    wait = RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    unavailable = failure(grpc.StatusCode.UNAVAILABLE, "SMTP_CONNECT_FAILED", wait, outcome="NOT_SENT")
    unavailable.pushback_ms = 1
    script.will(unavailable)
    async with serving_in_loop(script) as port:
        ended = await program.send(f"127.0.0.1:{port}")
    assert ended.exit_code == TRY_LATER
    assert ended.errors.splitlines() == [
        "Not sent: what happened [SMTP_CONNECT_FAILED]",
        "What to do: try again in 2 s.",
    ]
    assert len(script.requests) == example.tries


async def test_obeys_a_service_that_asks_for_no_retry(program: Program) -> None:
    script = Script()
    unavailable = failure(grpc.StatusCode.UNAVAILABLE, "SMTP_CONNECT_FAILED", outcome="NOT_SENT")
    unavailable.pushback_ms = -1
    script.will(unavailable)
    async with serving_in_loop(script) as port:
        ended = await program.send(f"127.0.0.1:{port}")
    assert (ended.exit_code, len(script.requests)) == (TRY_LATER, 1)


async def test_leaves_a_throttled_call_to_the_person(program: Program, tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.MAIL, reply_with(b"421 4.7.0 Too many mails\r\n"))) as provider,
        running_service({"default": document_for(provider)}, tmp_path) as service,
    ):
        ended = await program.send(service.address)
    assert ended.exit_code == TRY_LATER
    assert "[SMTP_RATE_LIMITED]" in ended.errors
    assert "try again in " in ended.errors


async def test_a_call_that_breaks_when_the_mail_may_have_left_is_not_repeated(program: Program) -> None:
    script = Script()
    async with serving_in_loop(script) as port:
        relay = Relay(port)
        script.will(Break(relay, after_headers=True))
        async with relay.listening() as relayed:
            ended = await program.send(f"127.0.0.1:{relayed}")
    assert ended.exit_code == UNCERTAIN
    assert "ask the recipient" in ended.errors
    assert len(script.requests) == 1


async def test_tells_an_operators_fault_from_the_callers(program: Program, tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.MAIL, reply_with(b"550 5.7.1 Sender not allowed\r\n"))) as provider,
        running_service({"default": document_for(provider)}, tmp_path) as service,
    ):
        ended = await program.send(service.address)
    assert ended.exit_code == REFUSED
    assert "[SMTP_SENDER_REJECTED]" in ended.errors
    assert "ask whoever runs the service" in ended.errors


async def test_hears_from_the_service_that_the_time_ran_out(program: Program, tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, stall)) as provider,
        running_service({"default": document_for(provider)}, tmp_path) as service,
    ):
        ended = await program.send(service.address, "--timeout", "3")
    assert ended.exit_code == TRY_LATER
    assert "[DEADLINE_EXCEEDED]" in ended.errors
    assert "longer --timeout" in ended.errors


async def test_speaks_tls_and_shows_its_token(
    program: Program, inbox: Inbox, secured: dict[str, Any], ca_file: str, token: str, tmp_path: Path
) -> None:
    async with running_service({"default": document_for(inbox)}, tmp_path, **secured) as service:
        target = service.address.replace("127.0.0.1", "localhost")
        ended = await program.send(target, "--tls-ca", ca_file, "--token", token)
        assert (ended.exit_code, ended.errors) == (ACCEPTED, "")
        ended = await program.send(target, "--tls-ca", ca_file, "--token", "wrong")
    assert ended.exit_code == REFUSED
    assert "[UNAUTHENTICATED]" in ended.errors
    assert "give a valid --token" in ended.errors
    assert len(inbox.mails) == 1


async def test_says_nothing_to_a_service_that_it_cannot_trust(
    program: Program, inbox: Inbox, secured: dict[str, Any], token: str, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "stranger.pem")
    async with running_service({"default": document_for(inbox)}, tmp_path, **secured) as service:
        ended = await program.send(service.address, "--tls-ca", str(tmp_path / "stranger.pem"), "--token", token)
    assert ended.exit_code == TRY_LATER
    assert "check --target and --tls-ca" in ended.errors
    assert not inbox.mails


@pytest.mark.parametrize("target", ["127.0.0.1:9", "nowhere.invalid:50051"], ids=["nothing listens", "no such host"])
async def test_tells_where_there_is_no_service(program: Program, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")  # a proxy of the machine would give an answer of its own
    ended = await program.send(target)
    assert ended.exit_code == TRY_LATER
    what, todo = ended.errors.splitlines()[-2:]
    assert what.startswith("Not sent: ")
    assert "reach" in what
    assert todo == "What to do: check --target and --tls-ca, and that the service runs; then try again."


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--target", "127.0.0.1:9", "--to", "ada@example.com"),
        ("--target", "127.0.0.1:9", "--to", "ada@example.com", "--code", "1", "--timeout", "soon"),
        ("--target", "127.0.0.1:9", "--to", "ada@example.com", "--code", "1", "--tls-ca", "/no/such/file"),
        ("--nonsense",),
    ],
    ids=["nothing", "an option is missing", "a bad number", "no such file", "an unknown option"],
)
async def test_a_wrong_command_line_calls_nobody(program: Program, arguments: tuple[str, ...]) -> None:
    ended = await program.run(*arguments)
    assert (ended.exit_code, ended.output) == (USAGE, "")
    assert ended.errors
