"""A call that ends CANCELLED, as a service that stops leaves it: what the metadata before it prove."""

from __future__ import annotations

from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from smtpconnector import AsyncClient, Client, DeliveryUncertain, Outcome, SmtpConnectorError
from smtpconnector.v1 import connector_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stopping(connector_service_pb2_grpc.ConnectorServiceServicer):
    def __init__(self, *metadata: tuple[str, str]) -> None:
        self.metadata = metadata

    def SendMessage(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's
        if self.metadata:
            context.send_initial_metadata(self.metadata)
        context.abort(grpc.StatusCode.CANCELLED, "the server stops")


@contextmanager
def serving(servicer: Stopping) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    connector_service_pb2_grpc.add_ConnectorServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


COMMITTED = ("smtpconnector-committed", "1")


def test_with_the_mark_the_mail_may_have_left() -> None:
    with serving(Stopping(COMMITTED)) as address, Client(address) as client, pytest.raises(DeliveryUncertain):
        client.send_message("ada@example.com", "SignIn")


async def test_with_the_mark_the_mail_may_have_left_for_asyncio_too() -> None:
    with serving(Stopping(COMMITTED)) as address:
        async with AsyncClient(address) as client:
            with pytest.raises(DeliveryUncertain):
                await client.send_message("ada@example.com", "SignIn")


@pytest.mark.parametrize("metadata", [(), (("other", "1"),)])
async def test_without_it_the_mail_was_not_sent(metadata: tuple[tuple[str, str], ...]) -> None:
    with serving(Stopping(*metadata)) as address:
        with Client(address) as client, pytest.raises(SmtpConnectorError) as raised:
            client.send_message("ada@example.com", "SignIn")
        assert (raised.value.outcome, raised.value.may_retry) == (Outcome.NOT_SENT, True)
        async with AsyncClient(address) as client_of_loop:
            with pytest.raises(SmtpConnectorError) as raised:
                await client_of_loop.send_message("ada@example.com", "SignIn")
        assert raised.value.outcome is Outcome.NOT_SENT
