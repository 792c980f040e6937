"""expire_time is a bound on leaving, and not on asking what became of a mail that left in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from harness.documents import document_for
from harness.fault import Fault, State, stall
from harness.service import running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1.delivery_pb2 import DeliveryMode

if TYPE_CHECKING:
    from pathlib import Path

MODES = (DeliveryMode.DELIVERY_MODE_WAIT, DeliveryMode.DELIVERY_MODE_ENQUEUE)


def _in(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(time.time() + seconds), nanos=0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_repeat_after_expire_time_gets_the_answer_of_the_first(
    mode: DeliveryMode.ValueType, tmp_path: Path
) -> None:
    request = {"to": "ada@example.com", "type": "SignIn", "request_id": "r", "delivery_mode": mode}
    async with (
        SmtpServer() as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(tmp_path / "store")) as service,
    ):
        first = await service.send(**request, expire_time=_in(60))
        await smtp.reached(State.IDLE)
        repeat = await service.send(**request, expire_time=_in(-60))
        assert (repeat.delivery_id, repeat.message_id) == (first.delivery_id, first.message_id)
        assert len(smtp.ledger) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_a_request_whose_time_is_over_is_refused(mode: DeliveryMode.ValueType, tmp_path: Path) -> None:
    async with (
        SmtpServer() as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(tmp_path / "store")) as service,
    ):
        error = await service.send_refused(
            to="ada@example.com", type="SignIn", request_id="r", delivery_mode=mode, expire_time=_in(-1)
        )
        assert (error.reason, error.metadata["outcome"]) == ("DELIVERY_EXPIRED", "NOT_SENT")
        assert smtp.sessions == []


async def test_a_call_that_waits_is_told_at_expire_time_that_the_mail_has_expired(tmp_path: Path) -> None:
    async with (
        SmtpServer(Fault(State.RCPT, stall)) as smtp,
        running_service({"default": document_for(smtp)}, tmp_path, store=str(tmp_path / "store")) as service,
    ):
        began = time.monotonic()
        request = {"to": "ada@example.com", "type": "SignIn", "request_id": "r", "expire_time": _in(2)}
        error = await service.send_refused(**request)
        assert error.reason == "DELIVERY_EXPIRED"
        assert time.monotonic() - began < 8  # the call itself has ten seconds
        assert (await service.send_refused(**request)).reason == "DELIVERY_EXPIRED"
