"""DELIVERY_MODE_ENQUEUE: accepted before the provider is asked, tried until it is sent, refused for good or expired."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import grpc

from harness.certificates import ca_pem, server_context
from harness.documents import USAGE_TYPES, document_for
from harness.durable import ENQUEUE, ended, eventually, message_ids, refused, rows, send, states
from harness.fault import Fault, State, reply_and_close, reply_with, stall
from harness.inbox import Inbox
from harness.sasl import Credentials
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from pathlib import Path

USER, PASSWORD = "sender@example.com", "correct horse"


async def test_it_is_accepted_before_the_provider_is_asked(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.GREETING, stall)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        answer = await send(service, delivery_mode=ENQUEUE)

        assert answer.delivery_id == rows(file)[0].id
        assert answer.message_id == rows(file)[0].message_id
        assert not answer.HasField("reply")
        assert not server.ledger


async def test_what_can_never_be_sent_is_refused_at_once_and_not_kept(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        for wrong in ({"to": "nobody"}, {"config": {"profile": "nobody"}}, {"config": {"document": {}}}):
            error = await refused(service, delivery_mode=ENQUEUE, request_id="a", **wrong)  # type: ignore[arg-type]
            assert error.code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
        assert rows(file) == []


async def test_what_may_pass_is_tried_again_until_it_is_sent(tmp_path: Path, file: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]
    inbox = Inbox(port=free_port)
    one_at_a_time: dict[str, Any] = {"extensions": ()}
    async with (
        SmtpServer(Fault(State.GREETING, reply_and_close(b"421 4.3.2 Busy\r\n"), connection=1)) as busy,
        SmtpServer(Fault(State.RCPT, reply_with(b"450 4.2.0 Greylisted\r\n"), occurrence=1), **one_at_a_time) as grey,
        SmtpServer(Fault(State.RECEIVED, reply_with(b"451 4.3.0 Disk full\r\n"), occurrence=1)) as full,
        SmtpServer(
            Fault(State.AUTH1, reply_with(b"454 4.7.0 Not now\r\n"), connection=1),
            credentials=Credentials(user=USER, password=PASSWORD),
        ) as locked,
    ):
        profiles = {
            "busy": document_for(busy),
            "grey": document_for(grey),
            "full": document_for(full),
            "locked": document_for(locked, auth={"user": USER, "pass": PASSWORD}, ignoreTLS=True),
            "away": document_for(inbox),
        }
        async with running_service(profiles, tmp_path, store=str(file)) as service:
            for name in profiles:
                await send(service, config={"profile": name}, delivery_mode=ENQUEUE)
            await eventually(lambda: all(row.deferrals for row in rows(file)))
            async with inbox:
                after = await ended(file, *["SENT"] * len(profiles))

        assert all(row.deferrals for row in after)
        assert not any(row.has_content for row in after)
        for server, row in zip((busy, grey, full, locked), after, strict=False):
            assert message_ids(server) == [row.message_id]
        assert len(inbox.mails) == 1


async def test_what_is_refused_for_good_has_its_end(tmp_path: Path, file: Path) -> None:
    def refusing(state: State) -> SmtpServer:
        return SmtpServer(Fault(state, reply_with(b"550 5.7.1 No\r\n")), extensions=())

    async with refusing(State.MAIL) as mail, refusing(State.RCPT) as rcpt, refusing(State.RECEIVED) as message:
        profiles = {str(server.port): document_for(server) for server in (mail, rcpt, message)}
        async with running_service(profiles, tmp_path, store=str(file)) as service:
            for name in profiles:
                await send(service, request_id=name, config={"profile": name}, delivery_mode=ENQUEUE)
            after = await ended(file, *["REJECTED"] * len(profiles))
            again = await send(service, request_id=name, config={"profile": name}, delivery_mode=ENQUEUE)

        assert again.state == delivery_pb2.DELIVERY_STATE_REJECTED
        assert [row.has_content for row in after] == [False] * 3
        assert [row.history for row in after] == [("SENDING", "REJECTED")] * 3
        assert [len(server.sessions) for server in (mail, rcpt, message)] == [1] * 3


async def test_what_is_wrong_with_a_profile_waits_until_it_is_mended(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(credentials=Credentials(user=USER, password=PASSWORD)) as locked,
        SmtpServer(tls=server_context(), implicit_tls=True) as secure,
        SmtpServer(Fault(State.MAIL, reply_with(b"530 5.7.0 Authentication required\r\n"), occurrence=1)) as asking,
    ):
        wrong = {
            "password": document_for(locked, auth={"user": USER, "pass": "wrong"}, ignoreTLS=True),
            "certificate": document_for(secure, secure=True),
            "login": document_for(asking),
        }
        right = {
            "password": document_for(locked, auth={"user": USER, "pass": PASSWORD}, ignoreTLS=True),
            "certificate": document_for(secure, secure=True, tls={"ca": ca_pem()}),
        }
        files = {name: tmp_path / f"{name}.json" for name in wrong}
        async with running_service(wrong, tmp_path, store=str(file), profile=files) as service:
            for name in wrong:
                await send(service, config={"profile": name}, delivery_mode=ENQUEUE)
            await eventually(lambda: all(row.deferrals for row in rows(file)))
            for name, document in right.items():
                files[name].write_text(json.dumps(document), encoding="utf-8")
            await ended(file, "SENT", "SENT", "SENT", seconds=60)

        assert [len(server.ledger) for server in (locked, secure, asking)] == [1, 1, 1]


async def test_a_profile_that_has_vanished_is_waited_for(tmp_path: Path, file: Path) -> None:
    async with SmtpServer(Fault(State.GREETING, stall)) as server:
        profiles = {"default": document_for(server)}
        async with running_service(profiles, tmp_path, store=str(file), grace=0.1) as service:
            await send(service, delivery_mode=ENQUEUE)
        server.faults = ()
        async with running_service({}, tmp_path, store=str(file)):
            await eventually(lambda: rows(file)[0].reason == "PROFILE_NOT_FOUND")
        assert not server.ledger
        async with running_service(profiles, tmp_path, store=str(file)):
            await ended(file, "SENT")

        assert len(server.ledger) == 1


async def test_a_delay_that_the_provider_names_is_kept(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, reply_with(b"450 4.2.1 Try again in 3600 seconds\r\n")), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        await send(service, delivery_mode=ENQUEUE)
        await ended(file, "QUEUED")

        assert 3600 <= rows(file)[0].due_in <= 3603


async def test_configurations_of_callers_survive_the_server(tmp_path: Path, file: Path) -> None:
    async with SmtpServer(
        Fault(State.GREETING, stall), tls=server_context(), credentials=Credentials(user=USER, password=PASSWORD)
    ) as server:
        document = document_for(server, auth={"user": USER, "pass": PASSWORD}, tls={"ca": ca_pem()})
        typed = {
            "host": server.host,
            "port": server.port,
            "login": {"user": USER, "password": PASSWORD},
            "tls": {"ca_pem": ca_pem()},
            "from_email": "sender@example.com",
            "templates": [
                {"usage_type": usage_type, "subject": "s", "content": "{{code}}"} for usage_type in USAGE_TYPES
            ],
        }
        async with running_service({}, tmp_path, store=str(file), grace=0.1) as service:
            for config in ({"document": document}, {"smtp": typed}):
                await send(service, config=config, delivery_mode=ENQUEUE)
        assert states(file) == ["QUEUED", "QUEUED"]
        server.faults = ()
        async with running_service({}, tmp_path, store=str(file)):
            await ended(file, "SENT", "SENT")

        assert len(server.ledger) == 2


async def test_a_provider_that_stalls_keeps_no_other_waiting(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.GREETING, stall)) as slow,
        SmtpServer() as fast,
        running_service(
            {"slow": document_for(slow), "fast": document_for(fast)}, tmp_path, store=str(file), grace=0.1
        ) as service,
    ):
        await asyncio.gather(*(send(service, config={"profile": "slow"}, delivery_mode=ENQUEUE) for _ in range(70)))
        await asyncio.gather(*(send(service, config={"profile": "fast"}, delivery_mode=ENQUEUE) for _ in range(70)))
        await eventually(lambda: len(fast.ledger) == 70)

        assert not slow.ledger
        assert states(file)[:70].count("SENDING") == 50
