"""Both clients, each against a real server that answers what the test says."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from harness.fake_connector import Script, serving, serving_in_loop
from smtpconnector import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc


class Caller:
    """Either client, called in the same way."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    async def send_message(self, *args: Any, **options: Any) -> Any:
        return await _settled(self._client.send_message(*args, **options))

    async def validate_config(self, *args: Any, **options: Any) -> Any:
        return await _settled(self._client.validate_config(*args, **options))

    async def get_metadata(self, **options: Any) -> Any:
        return await _settled(self._client.get_metadata(**options))


async def _settled(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture(params=[Client, AsyncClient])
def connected(request: pytest.FixtureRequest, script: Script) -> Callable[..., Any]:
    """Connect a client, of either kind, to a server with the script."""

    @asynccontextmanager
    async def connect(
        host: str = "127.0.0.1", credentials: grpc.ServerCredentials | None = None, **options: Any
    ) -> AsyncIterator[Caller]:
        if request.param is Client:
            with serving(script, credentials) as port, Client(f"{host}:{port}", **options) as client:
                yield Caller(client)
        else:
            async with (
                serving_in_loop(script, credentials) as port,
                AsyncClient(f"{host}:{port}", **options) as client,
            ):
                yield Caller(client)

    return connect


@pytest.fixture
async def caller(connected: Callable[..., Any]) -> AsyncIterator[Caller]:
    async with connected() as caller:
        yield caller
