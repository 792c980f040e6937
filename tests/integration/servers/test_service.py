"""The whole way: a gRPC call to the running service, a mail from a real server's maildir."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import uvloop

from harness.certificates import ca_pem
from harness.documents import plain_templates
from harness.proxy import Proxy, Toxics
from harness.servers.exim import MAX_MESSAGES
from harness.servers.mail_server import CREDENTIALS, INBOX, UNKNOWN
from harness.service import running_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.servers.mail_server import MailServer


def document(port: int, **changes: Any) -> dict[str, Any]:
    """Return what an operator would write."""
    return {
        "host": "127.0.0.1",
        "port": port,
        "requireTLS": True,
        "tls": {"ca": ca_pem()},
        "auth": {"user": CREDENTIALS.user, "pass": CREDENTIALS.password},
        "fromEmail": f"Sender <{CREDENTIALS.user}>",
        "templates": plain_templates(),
        **changes,
    }


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("secure", [False, True], ids=["STARTTLS", "implicit TLS"])
def test_a_call_becomes_a_mail(
    mail_server: MailServer, tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop], *, secure: bool
) -> None:
    code = uuid.uuid4().hex
    profile = document(
        mail_server.tls_port if secure else mail_server.starttls_port, secure=secure, requireTLS=not secure
    )

    async def call() -> None:
        async with running_service({"default": profile}, tmp_path) as service:
            response = await service.send(to=INBOX, type="SignIn", payload={"code": code})
        assert response.reply.code == 250
        (mail,) = await mail_server.wait_for(f"SignIn {code}")
        assert mail["Message-ID"] == response.message_id
        assert mail["To"] == INBOX
        assert mail.get_content().rstrip("\n") == f"Your code is {code}."

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(call())


@pytest.mark.parametrize(("single_flight", "most"), [(False, 2.1), (True, 1.1)], ids=["pipelining", "single flight"])
async def test_a_call_takes_two_round_trips_or_one(
    mail_server: MailServer, tmp_path: Path, most: float, *, single_flight: bool
) -> None:
    calls = 10
    async with Proxy(mail_server.tls_port, downstream=Toxics(latency=0.02)) as proxy:
        profile = document(proxy.port, secure=True, requireTLS=False, singleFlight=single_flight)
        async with running_service({"default": profile}, tmp_path) as service:
            await service.send(to=INBOX, type="SignIn", payload={"code": "000000"})
            (link,) = proxy.links
            before = link.round_trips
            for _ in range(calls):
                await service.send(to=INBOX, type="SignIn", payload={"code": "000000"})
            assert (link.round_trips - before) / calls <= most
            assert len(proxy.links) == 1


@pytest.mark.needs_server("exim")
async def test_a_mail_too_many_for_its_connection_goes_over_another(exim: MailServer, tmp_path: Path) -> None:
    async with running_service(
        {"default": document(exim.tls_port, secure=True, requireTLS=False)}, tmp_path
    ) as service:
        calls = [await service.send(to=INBOX, type="SignIn", payload={"code": "0"}) for _ in range(MAX_MESSAGES + 1)]
    assert [call.attempts for call in calls] == [*[1] * MAX_MESSAGES, 2]


async def test_a_call_for_an_unknown_recipient_says_so(mail_server: MailServer, tmp_path: Path) -> None:
    async with running_service({"default": document(mail_server.starttls_port)}, tmp_path) as service:
        error = await service.send_refused(to=UNKNOWN, type="SignIn", payload={"code": "123456"})
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SMTP_RECIPIENT_REJECTED")
    assert error.fields == ["to"]
    assert error.metadata["outcome"] == "REJECTED"
    assert error.metadata["smtpCode"] == "550"
