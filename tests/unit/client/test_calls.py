"""Both clients against a real server: what arrives there, and what comes back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from harness.fake_connector import Hang, Script, serving, serving_in_loop
from smtpconnector import (
    AsyncClient,
    Capabilities,
    Client,
    DeadlineExceeded,
    DeliveryUncertain,
    Depth,
    Finding,
    Outcome,
    Reply,
    SentMessage,
    Severity,
    Step,
    StepStatus,
    Template,
    UsageType,
)
from smtpconnector.v1 import connector_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Caller


async def test_a_message_is_sent_with_every_option(caller: Caller, script: Script) -> None:
    script.will(
        pb.SendMessageResponse(
            message_id="<7@example.com>",
            reply=pb.SmtpReply(code=250, enhanced_code="2.0.0", text="queued"),
            usage_type="Generic",
            host="smtp.example.com",
            attempts=1,
        )
    )
    sent = await caller.send_message(
        "ada@example.com",
        UsageType.SIGN_IN,
        {"code": "246810", "user": {"langs": ["en", "zh"]}},
        config="marketing",
        template=Template("Hi", "Your code: {{code}}", content_type="text/plain", language_tag="en"),
        client_ip="192.0.2.1",
        validate_only=True,
        request_id="r",
        metadata=[("traceparent", "00-1-2-03")],
    )
    assert sent == SentMessage(
        "<7@example.com>", Reply(250, "2.0.0", "queued"), usage_type="Generic", host="smtp.example.com", attempts=1
    )
    assert MessageToDict(script.requests[0]) == {
        "to": "ada@example.com",
        "type": "SignIn",
        "payload": {"code": "246810", "user": {"langs": ["en", "zh"]}},
        "config": {"profile": "marketing"},
        "template": {
            "contentType": "CONTENT_TYPE_TEXT_PLAIN",
            "subject": "Hi",
            "content": "Your code: {{code}}",
            "languageTag": "en",
        },
        "clientIp": "192.0.2.1",
        "validateOnly": True,
        "requestId": "r",
    }
    assert script.metadata[0]["traceparent"] == "00-1-2-03"


async def test_what_is_not_given_is_absent_from_the_request(caller: Caller, script: Script) -> None:
    sent = await caller.send_message("ada@example.com", "OfOurOwn")
    assert script.requests[0] == pb.SendMessageRequest(to="ada@example.com", type="OfOurOwn")
    assert sent.reply is None


async def test_a_configuration_report_is_read_whole(caller: Caller, script: Script) -> None:
    script.will(
        ParseDict(
            {
                "valid": False,
                "findings": [
                    {
                        "severity": "SEVERITY_ERROR",
                        "field": "auth.user",
                        "reason": "MISSING",
                        "message": "missing",
                        "hint": "add it",
                    }
                ],
                "steps": [
                    {"stage": "RESOLVE", "status": "STEP_STATUS_PASSED", "duration": "0.25s", "detail": "1 address"},
                    {"stage": "CONNECT", "status": "STEP_STATUS_SKIPPED"},
                ],
                "normalized": {"host": "smtp.example.com", "port": 587},
                "capabilities": {"extensions": ["SIZE 10"], "authMechanisms": ["PLAIN"], "maxMessageSize": 10},
            },
            pb.ValidateConfigResponse(),
        )
    )
    report = await caller.validate_config({"host": "smtp.example.com"}, depth=Depth.ENVELOPE, to="ada@example.com")
    assert not report.valid
    assert report.findings == (Finding(Severity.ERROR, "auth.user", "MISSING", "missing", "add it"),)
    assert report.steps == (
        Step("RESOLVE", StepStatus.PASSED, 0.25, "1 address"),
        Step("CONNECT", StepStatus.SKIPPED, None, ""),
    )
    assert report.normalized == {"host": "smtp.example.com", "port": 587}
    assert report.capabilities == Capabilities(("SIZE 10",), ("PLAIN",), 10, "")
    assert MessageToDict(script.requests[0]) == {
        "config": {"document": {"host": "smtp.example.com"}},
        "depth": "DEPTH_ENVELOPE",
        "to": "ada@example.com",
    }


async def test_what_a_newer_service_says_is_called_unrecognized(caller: Caller, script: Script) -> None:
    newer = pb.ValidateConfigResponse()
    newer.findings.add(severity=99)  # type: ignore[arg-type]  # no client of today knows it
    newer.steps.add(status=99)  # type: ignore[arg-type]  # the same
    script.will(newer)
    report = await caller.validate_config()
    assert report.findings[0].severity is Severity.UNRECOGNIZED
    assert report.steps[0].status is StepStatus.UNRECOGNIZED
    assert (report.normalized, report.capabilities) == (None, None)


async def test_metadata_come_as_the_contract_has_them(caller: Caller) -> None:
    assert (await caller.get_metadata()).id == "simple-mail-transfer-protocol"


async def test_every_call_has_a_deadline(connected: Callable[..., Any], script: Script) -> None:
    async with connected() as caller:
        await caller.send_message("ada@example.com", "Test")
        await caller.validate_config(timeout=None)
        await caller.get_metadata(timeout=7)
    async with connected(timeout=50) as caller:
        await caller.get_metadata()
    for left, given in zip(script.seconds_left, (30, 30, 7, 50), strict=True):
        assert given / 2 < left < given + 1  # gRPC rounds up on its way


async def test_a_local_deadline_leaves_open_whether_the_mail_was_sent(caller: Caller, script: Script) -> None:
    script.will(Hang())
    with pytest.raises(DeliveryUncertain, match="may or may not") as raised:
        await caller.send_message("ada@example.com", "Test", timeout=0.2)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(script.requests) == 1


@pytest.mark.parametrize("call", ["validate_config", "get_metadata"])
async def test_a_local_deadline_of_a_call_that_sends_nothing_is_just_that(
    caller: Caller, script: Script, call: str
) -> None:
    script.will(Hang())
    with pytest.raises(DeadlineExceeded) as raised:
        await getattr(caller, call)(timeout=0.2)
    assert raised.value.outcome is None


async def test_a_check_that_sends_nothing_is_never_uncertain(caller: Caller, script: Script) -> None:
    script.will(Hang())
    with pytest.raises(DeadlineExceeded):
        await caller.send_message("ada@example.com", "Test", validate_only=True, timeout=0.2)


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
async def test_no_call_waits_for_ever(caller: Caller, script: Script, seconds: float) -> None:
    with pytest.raises(ValueError, match="positive number of seconds"):
        await caller.get_metadata(timeout=seconds)
    assert not script.requests


async def test_the_token_goes_with_every_call(connected: Callable[..., Any], script: Script) -> None:
    async with connected(token="s3cret") as caller:
        await caller.send_message("ada@example.com", "Test")
        await caller.get_metadata(metadata=[("x-request-id", "1")])
    assert [told["authorization"] for told in script.metadata] == ["Bearer s3cret"] * 2
    assert script.metadata[1]["x-request-id"] == "1"


async def test_a_token_that_changes_is_asked_for_each_time(connected: Callable[..., Any], script: Script) -> None:
    tokens = iter(["first", "second"])
    async with connected(token=lambda: next(tokens)) as caller:
        await caller.get_metadata()
        await caller.get_metadata()
    assert [told["authorization"] for told in script.metadata] == ["Bearer first", "Bearer second"]


async def test_a_bad_token_is_refused_without_showing_it(connected: Callable[..., Any], script: Script) -> None:
    async with connected(token=lambda: "s3cret\n") as caller:
        with pytest.raises(ValueError, match="visible ASCII") as raised:
            await caller.get_metadata()
    assert "s3cret" not in str(raised.value)
    assert not script.requests


async def test_what_goes_in_the_clear_goes_through_no_proxy(
    connected: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_grpc_proxy", "nowhere.invalid")
    async with connected() as caller:
        assert (await caller.get_metadata()).id


def test_one_client_serves_many_threads(script: Script) -> None:
    with serving(script) as port, Client(f"127.0.0.1:{port}") as client, ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(client.send_message, f"{number}@example.com", "Test") for number in range(40)]
        assert {call.result().message_id for call in calls} == {"<1@example.com>"}
    assert {request.to for request in script.requests} == {f"{number}@example.com" for number in range(40)}


async def test_cancelling_a_task_cancels_its_call_at_the_service(script: Script) -> None:
    hang = Hang()
    script.will(hang)
    async with serving_in_loop(script) as port, AsyncClient(f"127.0.0.1:{port}") as client:
        call = asyncio.create_task(client.send_message("ada@example.com", "Test"))
        await hang.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(hang.ended.wait(), 5)


def test_an_async_client_may_be_made_before_its_loop_runs_and_belongs_to_one(script: Script) -> None:
    client = AsyncClient("127.0.0.1:1")

    async def use() -> None:
        async with client:
            pass

    asyncio.run(use())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(use())
