"""nodemailer's options end to end: what a configuration says, and what the SMTP server then hears."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
import pytest
from structlog.testing import capture_logs

from harness.certificates import ca_pem, server_context
from harness.dkim_reader import record, valid_signatures
from harness.documents import document_for
from harness.fault import Fault, State, close, reply_with
from harness.inbox import Inbox
from harness.private_keys import ed25519_pem, rsa_pem
from harness.sasl import Credentials
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


class TestTranscript:
    CREDENTIALS = Credentials(user="canary-user@example.com", password="canary-password")

    def document(self, smtp: SmtpServer, **changes: Any) -> dict[str, Any]:
        auth = {"user": self.CREDENTIALS.user, "pass": self.CREDENTIALS.password}
        changes = {"auth": auth, "tls": {"ca": ca_pem()}, "debug": True, **changes}
        return document_for(smtp, **changes)

    @pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5"])
    async def test_of_a_profile_shows_the_dialogue_and_no_canary(self, method: str, tmp_path: Path) -> None:
        echo = reply_with(f"535 5.7.8 {self.CREDENTIALS.user} {self.CREDENTIALS.password}\r\n".encode())
        quote = reply_with(b"554 5.7.1 canary-code in the subject\r\n")
        call = {"to": "canary-to@example.com", "type": "SignIn", "payload": {"code": "canary-code"}}
        with capture_logs() as logs:
            async with (
                self.smtp_server(Fault(State.RECEIVED, quote, occurrence=2)) as smtp,
                self.smtp_server(Fault(State.AUTH1, echo), Fault(State.AUTH2, echo)) as echoes,
                running_service(
                    {
                        "default": self.document(smtp, authMethod=method),
                        "echoes": self.document(echoes, authMethod=method),
                    },
                    tmp_path,
                ) as service,
            ):
                await service.send_refused(**call, config={"profile": "echoes"})
                await service.send(**call)
                await service.send_refused(**call)
        said = [entry for entry in logs if entry["event"] == "smtp_transcript"]
        assert "canary" not in repr(logs)
        assert b64encode(self.CREDENTIALS.password.encode()).decode()[:8] not in repr(logs)
        assert {entry["log_level"] for entry in said} == {"info"}
        second = [
            f"{entry['speaker'][0]} {entry['line']}" for entry in said if entry["connection"] != said[0]["connection"]
        ]
        first_lines = [
            "s 220 mail.example.com ESMTP ready",
            "c EHLO",
            "s 250 mail.example.com",
            "c STARTTLS",
            "s 220 2.0.0",
        ]
        for line, beginning in zip(second, first_lines, strict=False):
            assert line.startswith(beginning)
        assert any(line.startswith(f"c AUTH {method}") for line in second)
        assert "s 235 2.7.0 Authentication successful" in second
        mail = second.index("s 235 2.7.0 Authentication successful") + 1
        size = re.search(r"SIZE=(\d+)", second[mail])
        assert size is not None
        assert second[mail:] == [
            f"c MAIL FROM:<***> SIZE={size[1]}",
            "c RCPT TO:<***>",
            "c DATA",
            "s 250 2.1.0 Sender ok",
            "s 250 2.1.5 Recipient ok",
            "s 354 Go ahead",
            f"c (a message of {size[1]} octets)",
            "s 250 2.0.0 Queued",
            "c RSET",
            f"c MAIL FROM:<***> SIZE={size[1]}",
            "c RCPT TO:<***>",
            "c DATA",
            "s 250 2.0.0 Reset",
            "s 250 2.1.0 Sender ok",
            "s 250 2.1.5 Recipient ok",
            "s 354 Go ahead",
            f"c (a message of {size[1]} octets)",
            "s 554 5.7.1 ***",
        ]

    def smtp_server(self, *faults: Fault) -> SmtpServer:
        return SmtpServer(*faults, tls=server_context(), credentials=self.CREDENTIALS)

    async def test_tells_what_broke(self, tmp_path: Path) -> None:
        async with SmtpServer(Fault(State.MAIL, close), extensions=()) as smtp:
            document = document_for(smtp, logger=True)
            async with running_service({"default": document}, tmp_path) as service:
                with capture_logs() as logs:
                    await service.send_refused(**CALL)
        lines_said = [entry["line"] for entry in logs if entry["event"] == "smtp_transcript"]
        assert "MAIL FROM:<***>" in lines_said
        assert lines_said[-1] == "(closed the connection)"

    async def test_is_not_a_callers_to_ask_for(self, tmp_path: Path) -> None:
        async with SmtpServer() as smtp, running_service({}, tmp_path) as service:
            with capture_logs() as logs:
                await service.send(**CALL, config={"document": document_for(smtp, debug=True, logger=True)})
            assert len(smtp.ledger) == 1
        assert "smtp_transcript" not in [entry["event"] for entry in logs]


async def test_answers_may_go_to_several(tmp_path: Path) -> None:
    async with Inbox() as inbox:
        document = document_for(inbox, replyTo="Help <help@example.com>, desk@example.com")
        async with running_service({"default": document}, tmp_path) as service:
            await service.send(**CALL)
        assert (await inbox.wait_for_mail()).message["Reply-To"] == "Help <help@example.com>, desk@example.com"
