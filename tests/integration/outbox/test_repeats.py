"""The same request again, under the same request_id: one mail, and one answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING

import grpc

from harness.documents import document_for
from harness.durable import Gate, ended, message_ids, refused, send, states
from harness.fault import Fault, State, reply_with
from harness.sasl import Credentials
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_repeat_gets_the_stored_answer_and_sends_nothing(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await send(service, request_id="a")
        again = await send(service, request_id="a")

        assert again == first
        assert first.state == delivery_pb2.DELIVERY_STATE_SENT
        assert first.reply.code == 250
        assert message_ids(server) == [first.message_id]


async def test_a_repeat_after_a_restart_gets_the_stored_answer(tmp_path: Path, file: Path) -> None:
    async with SmtpServer() as server:
        answers = []
        for _ in range(2):
            async with running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service:
                answers.append(await send(service, request_id="a"))

        assert answers[0] == answers[1]
        assert len(server.ledger) == 1


async def test_a_refusal_is_told_again_word_for_word(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, reply_with(b"550 5.1.1 Nobody here\r\n"), occurrence=1)) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await refused(service, request_id="a")
        again = await refused(service, request_id="a")

        assert (first.code, first.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SMTP_RECIPIENT_REJECTED")
        assert first.metadata["outcome"] == "REJECTED"
        assert (again.code, again.text, again.details) == (first.code, first.text, first.details)
        assert not server.ledger


async def test_a_temporary_refusal_is_told_with_its_delay_and_a_repeat_sends(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer(
            Fault(State.RCPT, reply_with(b"450 4.2.1 Try again in 7 seconds\r\n"), occurrence=1), extensions=()
        ) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await refused(service, request_id="a")
        assert (first.code, first.metadata["outcome"]) == (grpc.StatusCode.UNAVAILABLE, "NOT_SENT")
        assert "seconds: 7" in str(first.details["RetryInfo"])
        (before,) = await ended(file, "NOT_SENT")

        answer = await send(service, request_id="a")

        assert answer.delivery_id == before.id
        assert message_ids(server) == [answer.message_id] == [before.message_id]


async def test_a_wrong_password_is_no_end_that_stays(tmp_path: Path, file: Path) -> None:
    credentials = Credentials(user="u", password="right")
    async with SmtpServer(credentials=credentials) as server:
        for password in ("wrong", "right"):
            document = document_for(server, auth={"user": "u", "pass": password}, ignoreTLS=True)
            async with running_service({"default": document}, tmp_path, store=str(file)) as service:
                if password == "wrong":
                    assert (await refused(service, request_id="a")).reason == "SMTP_AUTH_FAILED"
                else:
                    assert (await send(service, request_id="a")).state == delivery_pb2.DELIVERY_STATE_SENT
        assert len(server.ledger) == 1


async def test_many_repeats_at_once_are_one_mail_one_answer_and_count_once(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with (
        SmtpServer(Fault(State.ACCEPTED, gate)) as server,
        running_service(
            {"default": document_for(server)}, tmp_path, store=str(file), limit_recipient="1/hour"
        ) as service,
    ):
        calls = [asyncio.ensure_future(send(service, request_id="a")) for _ in range(20)]
        await server.reached(State.ACCEPTED)
        gate.open()
        answers = await asyncio.gather(*calls)

        assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
        assert len(server.ledger) == 1
        other = await refused(service, request_id="b")
        assert (other.reason, states(file)) == ("LOCAL_RATE_LIMITED", ["SENT"])


async def test_many_repeats_at_once_get_one_refusal(tmp_path: Path, file: Path) -> None:
    gate = Gate()

    async def refuse(wire: object, reply: bytes) -> None:
        await gate(wire, b"451 4.3.0 Not now\r\n")  # type: ignore[arg-type]

    async with (
        SmtpServer(Fault(State.RCPT, refuse, occurrence=1), extensions=()) as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = asyncio.ensure_future(refused(service, request_id="a"))
        await server.reached(State.RCPT)
        others = [asyncio.ensure_future(refused(service, request_id="a")) for _ in range(5)]
        await refused(service, request_id="a", seconds=1.0)  # by now the others have joined as well
        gate.open()
        errors = await asyncio.gather(first, *others)

        assert {(error.reason, error.text) for error in errors} == {("SMTP_RECIPIENT_DEFERRED", errors[0].text)}
        assert not server.ledger


async def test_another_request_under_the_id_is_refused(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        now = int(time.time())
        first = await send(service, request_id="a", client_ip="192.0.2.1", expire_time={"seconds": now + 60})
        for other in (
            {"to": "bob@example.com"},
            {"payload": {"code": "2"}},
            {"type": "Register"},
            {"delivery_mode": delivery_pb2.DELIVERY_MODE_ENQUEUE},
            {"supersede_key": "k"},
        ):
            error = await refused(service, request_id="a", **other)  # type: ignore[arg-type]
            assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
            assert error.fields == ["request_id"]
        again = await send(service, request_id="a", client_ip="192.0.2.2", expire_time={"seconds": now + 3600})

        assert again == first
        assert len(server.ledger) == 1


async def test_what_a_request_says_beside_its_defaults_is_no_other_request(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await send(service, request_id="a")
        for same in (
            {"delivery_mode": delivery_pb2.DELIVERY_MODE_WAIT},
            {"uncertain_policy": delivery_pb2.UNCERTAIN_POLICY_HOLD},
            {"config": {"profile": "default"}},
        ):
            assert await send(service, request_id="a", **same) == first

        assert len(server.ledger) == 1


async def test_a_repeat_after_expire_time_gets_what_became_of_the_first(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        past = int(time.time()) - 1
        for mode in (delivery_pb2.DELIVERY_MODE_WAIT, delivery_pb2.DELIVERY_MODE_ENQUEUE):
            await send(service, request_id=f"a{mode}", delivery_mode=mode)
            await ended(file, *["SENT"] * mode)
            again = await send(service, request_id=f"a{mode}", delivery_mode=mode, expire_time={"seconds": past})
            assert again.state == delivery_pb2.DELIVERY_STATE_SENT
        assert len(server.ledger) == 2


async def test_an_id_belongs_to_its_caller(tmp_path: Path, file: Path) -> None:
    tokens = {"shop": "shop-token", "forum": "forum-token"}
    (tmp_path / "callers.toml").write_text(
        "".join(
            f'[principals.{name}]\ntoken_sha256 = ["{hashlib.sha256(token.encode()).hexdigest()}"]\n'
            'profiles = ["default"]\n'
            for name, token in tokens.items()
        ),
        encoding="utf-8",
    )
    async with (
        SmtpServer() as server,
        running_service(
            {"default": document_for(server)}, tmp_path, store=str(file), auth_tokens=tmp_path / "callers.toml"
        ) as service,
    ):
        of_shop = await send(service, request_id="a", token="shop-token")
        of_forum = await send(service, request_id="a", token="forum-token", to="bob@example.com")

        assert of_shop.delivery_id != of_forum.delivery_id
        assert len(server.ledger) == 2


async def test_a_repeat_at_another_server_joins_and_gets_the_answer(tmp_path: Path, file: Path) -> None:
    gate = Gate()
    async with SmtpServer(Fault(State.ACCEPTED, gate)) as server:
        profiles = {"default": document_for(server)}
        async with (
            running_service(profiles, tmp_path, store=str(file)) as one,
            running_service(profiles, tmp_path, store=str(file)) as other,
        ):
            first = asyncio.ensure_future(send(one, request_id="a"))
            await server.reached(State.ACCEPTED)
            joined = asyncio.ensure_future(send(other, request_id="a"))
            pending = await refused(other, request_id="a", seconds=1.0)
            assert (pending.code, pending.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DELIVERY_PENDING")
            assert pending.metadata["outcome"] == "UNKNOWN"
            gate.open()

            assert await first == await joined == await send(other, request_id="a")
            assert len(server.ledger) == 1


async def test_at_once_at_two_servers_it_is_one_mail(tmp_path: Path, file: Path) -> None:
    async with SmtpServer() as server:
        profiles = {"default": document_for(server)}
        async with (
            running_service(profiles, tmp_path, store=str(file)) as one,
            running_service(profiles, tmp_path, store=str(file)) as other,
        ):
            for number in range(4):
                answers = await asyncio.gather(
                    *(send(service, request_id=f"{number}") for service in (one, other, one, other))
                )
                assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
            assert len(server.ledger) == 4


async def test_a_repeat_of_a_queued_message_is_told_its_state(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await send(service, request_id="a", delivery_mode=delivery_pb2.DELIVERY_MODE_ENQUEUE)
        await ended(file, "SENT")
        again = await send(service, request_id="a", delivery_mode=delivery_pb2.DELIVERY_MODE_ENQUEUE)

        assert first.state in {delivery_pb2.DELIVERY_STATE_QUEUED, delivery_pb2.DELIVERY_STATE_SENDING}
        assert again.state == delivery_pb2.DELIVERY_STATE_SENT
        assert again.reply == pb.SmtpReply(code=250, enhanced_code="2.0.0", text="Queued")
        assert (again.delivery_id, again.message_id) == (first.delivery_id, first.message_id)
        assert len(server.ledger) == 1


async def test_a_repeat_with_the_profiles_content_changed_is_the_same_request(tmp_path: Path, file: Path) -> None:
    async with (
        SmtpServer() as server,
        running_service({"default": document_for(server)}, tmp_path, store=str(file)) as service,
    ):
        first = await send(service, request_id="a")
        (tmp_path / "default.json").write_text(
            json.dumps(document_for(server, fromEmail="other@example.com")), encoding="utf-8"
        )

        assert await send(service, request_id="a") == first
