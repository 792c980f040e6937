"""What gRPC repeats by the client's service config, counted at the server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from grpc import StatusCode

from harness.fake_connector import Abort, Break, Relay, Script, failure, serving_in_loop
from smtpconnector import AsyncClient, DeliveryUncertain, Outcome, SmtpConnectorError, Unavailable

if TYPE_CHECKING:
    from .conftest import Caller


def unavailable(*, pushback_ms: int | None = 1) -> Abort:
    answer = failure(StatusCode.UNAVAILABLE, "SMTP_CONNECT_FAILED", outcome="NOT_SENT")
    answer.pushback_ms = pushback_ms
    return answer


async def test_unavailable_is_tried_again(caller: Caller, script: Script) -> None:
    script.will(unavailable(), unavailable(pushback_ms=None), None)
    assert (await caller.send_message("ada@example.com", "Test")).message_id
    assert len(script.requests) == 3


async def test_four_tries_are_enough(caller: Caller, script: Script) -> None:
    script.will(unavailable())
    with pytest.raises(Unavailable) as raised:
        await caller.send_message("ada@example.com", "Test")
    assert raised.value.outcome is Outcome.NOT_SENT
    assert len(script.requests) == 4


async def test_the_service_can_forbid_another_try(caller: Caller, script: Script) -> None:
    script.will(unavailable(pushback_ms=-1))
    with pytest.raises(Unavailable):
        await caller.send_message("ada@example.com", "Test")
    assert len(script.requests) == 1


@pytest.mark.parametrize("code", [code for code in StatusCode if code not in {StatusCode.OK, StatusCode.UNAVAILABLE}])
async def test_no_other_code_is_tried_again(caller: Caller, script: Script, code: StatusCode) -> None:
    script.will(Abort(code, pushback_ms=1))
    with pytest.raises(SmtpConnectorError):
        await caller.send_message("ada@example.com", "Test")
    assert len(script.requests) == 1


async def test_a_service_that_cannot_be_reached_has_not_sent() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with AsyncClient(f"127.0.0.1:{unheard.getsockname()[1]}") as client:
            with pytest.raises(Unavailable, match="cannot be reached") as raised:
                await client.send_message("ada@example.com", "Test")
    assert raised.value.outcome is Outcome.NOT_SENT


async def test_a_service_whose_name_does_not_exist_has_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_grpc_proxy", ".invalid")  # a proxy of the machine would give an answer of its own
    async with AsyncClient("nowhere.invalid:50051") as client:
        with pytest.raises(Unavailable, match="cannot be reached") as raised:
            await client.send_message("ada@example.com", "Test")
    assert raised.value.outcome is Outcome.NOT_SENT


async def test_a_call_that_broke_after_the_services_headers_is_never_repeated(script: Script) -> None:
    async with serving_in_loop(script) as port:
        relay = Relay(port)
        script.will(Break(relay, after_headers=True))
        async with relay.listening() as relayed, AsyncClient(f"127.0.0.1:{relayed}") as client:
            with pytest.raises(DeliveryUncertain) as raised:
                await client.send_message("ada@example.com", "Test")
    assert raised.value.code is StatusCode.UNAVAILABLE
    assert len(script.requests) == 1


async def test_a_call_that_broke_before_them_is_repeated_and_never_called_not_sent(script: Script) -> None:
    async with serving_in_loop(script) as port:
        relay = Relay(port)
        script.will(Break(relay, after_headers=False), Break(relay, after_headers=False), None)
        async with relay.listening() as relayed, AsyncClient(f"127.0.0.1:{relayed}") as client:
            await client.send_message("ada@example.com", "Test")
            assert len(script.requests) == 3
            script.will(Break(relay, after_headers=False))
            with pytest.raises(DeliveryUncertain):
                await client.send_message("ada@example.com", "Test")
