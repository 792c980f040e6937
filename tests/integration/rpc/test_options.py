"""nodemailer's options end to end: what a configuration says, and what the SMTP server then hears."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
import pytest

from harness.dkim_reader import record, valid_signatures
from harness.documents import document_for
from harness.inbox import Inbox
from harness.private_keys import ed25519_pem, rsa_pem
from harness.service import CallError, Service, running_service
from harness.smtp_server import ALL_EXTENSIONS, SmtpServer
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1.validation_pb2 import DEPTH_ENVELOPE

if TYPE_CHECKING:
    from pathlib import Path

CALL: dict[str, Any] = {"to": "ada@example.com", "type": "SignIn", "payload": {"code": "123456"}}


def lines(smtp: SmtpServer, verb: bytes) -> list[bytes]:
    """The commands of one kind, on all connections."""
    return [command.line for session in smtp.sessions for command in session.commands if command.verb == verb]


async def validated(service: Service) -> pb.ValidateConfigResponse:
    request = pb.ValidateConfigRequest(depth=DEPTH_ENVELOPE, to=CALL["to"])
    return await service.stub.ValidateConfig(request, timeout=20)


class TestDsn:
    DSN: ClassVar[dict[str, Any]] = {"id": "codes", "return": "headers", "notify": ["failure", "delay"]}

    @pytest.mark.parametrize("extensions", [("DSN",), (*ALL_EXTENSIONS, "DSN")])
    async def test_is_asked_for_where_it_is_offered(self, extensions: tuple[str, ...], tmp_path: Path) -> None:
        async with SmtpServer(extensions=extensions) as smtp:
            document = document_for(smtp, dsn=self.DSN, singleFlight=True)
            async with running_service({"default": document}, tmp_path) as service:
                await service.send(**CALL)
                assert len(smtp.ledger) == 1
                assert lines(smtp, b"MAIL")[0].endswith(b" RET=HDRS ENVID=codes")
                assert lines(smtp, b"RCPT") == [b"RCPT TO:<ada@example.com> NOTIFY=FAILURE,DELAY"]
                assert "NO_DSN" not in [finding.reason for finding in (await validated(service)).findings]
            assert lines(smtp, b"MAIL")[1].endswith(b" RET=HDRS ENVID=codes")  # a look tries what mails would say

    async def test_is_left_out_where_it_is_not_offered_and_a_check_says_so(self, tmp_path: Path) -> None:
        async with SmtpServer() as smtp:
            async with running_service({"default": document_for(smtp, dsn=self.DSN)}, tmp_path) as service:
                await service.send(**CALL)
                checked = await validated(service)
            assert lines(smtp, b"RCPT")[0] == b"RCPT TO:<ada@example.com>"
            assert b"ENVID" not in lines(smtp, b"MAIL")[0]
            assert checked.valid
            assert [finding.field for finding in checked.findings if finding.reason == "NO_DSN"] == ["dsn"]


async def test_a_code_reaches_the_mail_client_bound_to_its_site(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        document = document_for(inbox, otp={"origin": "example.com"})
        async with running_service({"default": document}, tmp_path) as service:
            await service.send(**CALL)
        assert (await inbox.wait_for_mail()).message["OTP-Token"] == '"123456"; origin="https://example.com"'


async def test_a_mail_arrives_with_a_good_signature_of_each_key(tmp_path: Path) -> None:
    keys = [
        {"domainName": "example.com", "keySelector": "rsa", "privateKey": rsa_pem()},
        {"domainName": "example.com", "keySelector": "ed", "privateKey": ed25519_pem()},
    ]
    records = {"rsa._domainkey.example.com": record(rsa_pem()), "ed._domainkey.example.com": record(ed25519_pem())}
    async with Inbox() as inbox:
        document = document_for(inbox, dkim={"keys": keys})
        async with running_service({"default": document}, tmp_path) as service:
            await service.send(**CALL)
            await service.send(**CALL, validate_only=True)
        assert valid_signatures((await inbox.wait_for_mail()).octets, records) == [True, True]


class TestRate:
    async def test_mails_beyond_it_wait_for_their_turn(self, tmp_path: Path) -> None:
        async with Inbox() as inbox:
            document = document_for(inbox, rateLimit=2, rateDelta=200)
            async with running_service({"default": document}, tmp_path) as service:
                began = time.monotonic()
                await asyncio.gather(*(service.send(**CALL) for _ in range(5)))
                assert time.monotonic() - began >= 0.4  # the fifth is in the third stretch
            assert len(inbox.mails) == 5

    async def test_a_call_that_cannot_wait_so_long_is_told_that_nothing_was_sent(self, tmp_path: Path) -> None:
        async with Inbox() as inbox:
            document = document_for(inbox, rateLimit=1, rateDelta=3_600_000)
            async with running_service({"default": document}, tmp_path) as service:
                await service.send(**CALL)
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await service.stub.SendMessage(pb.SendMessageRequest(**CALL), timeout=1)
            assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert CallError(raised.value).metadata.get("outcome") == "NOT_SENT"
            assert len(inbox.mails) == 1
