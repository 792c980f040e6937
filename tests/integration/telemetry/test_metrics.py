"""The metrics of a running service, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from harness.documents import plain_templates
from harness.fault import Fault, State, close, reply_with
from harness.metrics_page import MetricsReader
from harness.service import Service, running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import connector_service_pb2

if TYPE_CHECKING:
    from pathlib import Path

MAIL = {"to": "ada@example.com", "type": "SignIn", "payload": {"code": "1"}}


def document_for(smtp: SmtpServer, **changes: Any) -> dict[str, Any]:
    return {
        "host": smtp.host,
        "port": smtp.port,
        "auth": {},
        "fromEmail": "sender@example.com",
        "templates": plain_templates(),
        **changes,
    }


def reader_of(service: Service) -> MetricsReader:
    assert service.metrics_address is not None
    return MetricsReader(service.metrics_address)


async def test_a_mail_shows_in_calls_outcomes_stages_and_round_trips(tmp_path: Path) -> None:
    async with (
        SmtpServer() as smtp,
        running_service({"shop": document_for(smtp)}, tmp_path, metrics_listen="127.0.0.1:0") as service,
    ):
        await service.send(**MAIL, config={"profile": "shop"})
        await service.send(**MAIL, config={"profile": "shop"})
        metrics = reader_of(service)
        assert await metrics.value("calls_total", method="SendMessage", code="OK", reason="OK") == 2
        assert await metrics.value("call_seconds_count", method="SendMessage") == 2
        assert await metrics.value("mails_total", profile="shop", outcome="SENT", reason="OK") == 2
        counts = {"COMPOSE": 2, "POOL": 2, "RESOLVE": 1, "CONNECT": 1, "GREETING": 1, "EHLO": 1, "TRANSACTION": 2}
        for stage, count in counts.items():
            assert await metrics.value("stage_seconds_count", stage=stage) == count, stage
        assert await metrics.value("transaction_round_trips_count", level="PIPELINING") == 2
        assert await metrics.value("transaction_round_trips_sum", level="PIPELINING") == 4
        server = f"{smtp.host}:{smtp.port}"
        assert await metrics.value("sessions_opened_total", server=server) == 1
        assert await metrics.value_that(bool, "pool_sessions", server=server, state="idle") == 1
        assert await metrics.value("mails_under_way") == 0


async def test_a_refused_mail_shows_its_reason_and_a_retry_its_connection(tmp_path: Path) -> None:
    faults = (
        Fault(State.MAIL, close, connection=1),
        Fault(State.RCPT, reply_with(b"550 5.1.1 no such user\r\n"), connection=2),
    )
    async with (
        SmtpServer(*faults, extensions=()) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, metrics_listen="127.0.0.1:0") as service,
    ):
        error = await service.send_refused(**MAIL)
        metrics = reader_of(service)
        assert await metrics.value("calls_total", method="SendMessage", code=error.code.name, reason=error.reason) == 1
        assert await metrics.value("mails_total", profile="default", outcome="REJECTED", reason=error.reason) == 1
        assert await metrics.value("mail_retries_total", profile="default") == 1


async def test_a_server_that_cannot_be_reached_shows_in_failures_and_breakers(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with SmtpServer() as smtp:
            document = document_for(smtp, port=port)
            async with running_service({"default": document}, tmp_path, metrics_listen="127.0.0.1:0") as service:
                for _ in range(3):
                    await service.send_refused(**MAIL)
                metrics = reader_of(service)
                server = f"127.0.0.1:{port}"
                assert await metrics.value("session_failures_total", server=server, reason="SMTP_CONNECT_FAILED") == 3
                assert await metrics.value("breaker_openings_total", server=server) == 1
                assert await metrics.value_that(bool, "breakers_open", server=server) == 1


async def test_what_callers_bring_is_one_server_and_one_profile_in_the_metrics(tmp_path: Path) -> None:
    async with (
        SmtpServer() as first,
        SmtpServer() as second,
        running_service({}, tmp_path, metrics_listen="127.0.0.1:0") as service,
    ):
        for smtp in (first, second):
            await service.send(**MAIL, config={"document": document_for(smtp)})
        metrics = reader_of(service)
        assert await metrics.value("mails_total", profile="own", outcome="SENT", reason="OK") == 2
        assert await metrics.value("sessions_opened_total", server="own") == 2
        assert await metrics.value_that(bool, "pool_sessions", server="own", state="idle") == 2
        assert "127.0.0.1" not in await metrics.text()


async def test_a_reply_that_comes_after_the_callers_deadline_is_counted(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def late(wire: Any, reply: bytes) -> None:
        await released.wait()
        await wire.send(reply)

    async with (
        SmtpServer(Fault(State.ACCEPTED, late)) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, metrics_listen="127.0.0.1:0") as service,
        asyncio.timeout(20),
    ):
        metrics = reader_of(service)
        labels = {"profile": "default", "outcome": "UNKNOWN", "reason": "DELIVERY_UNCERTAIN"}
        assert await metrics.value("mails_total", **labels) == 0
        with pytest.raises(Exception, match="may or may not arrive"):
            await service.stub.SendMessage(connector_service_pb2.SendMessageRequest(**MAIL), timeout=1.0)
        assert await metrics.value("mails_total", **labels) == 1
        assert await metrics.value_that(bool, "mails_under_way") == 1
        released.set()
        assert await metrics.value_that(bool, "late_replies_total", profile="default", outcome="SENT") == 1


async def test_a_server_that_loses_its_place_shows_as_a_step_down(tmp_path: Path) -> None:
    fault = Fault(State.RCPT, reply_with(b"503 5.5.1 bad sequence of commands\r\n"), occurrence=1)
    async with (
        SmtpServer(fault) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, metrics_listen="127.0.0.1:0") as service,
    ):
        await service.send(**MAIL)
        metrics = reader_of(service)
        server = f"{smtp.host}:{smtp.port}"
        assert await metrics.value("level_step_downs_total", server=server, lowered="SERIAL") == 1
        assert await metrics.value("transaction_round_trips_count", level="SERIAL") == 1


async def test_calls_that_never_become_mails_are_counted_by_reason(tmp_path: Path) -> None:
    async with running_service({}, tmp_path, metrics_listen="127.0.0.1:0") as service:
        await service.send_refused(to="nonsense", type="SignIn")
        await service.send_refused(to="ada@example.com", type="SignIn")
        metrics = reader_of(service)
        for code, reason in (("INVALID_ARGUMENT", "INVALID_REQUEST"), ("NOT_FOUND", "PROFILE_NOT_FOUND")):
            assert await metrics.value("calls_total", method="SendMessage", code=code, reason=reason) == 1


async def test_without_an_address_there_are_no_metrics(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as service:
        assert service.metrics_address is None
