"""Calls that ask for durable delivery, and what becomes of them: for tests of the outbox."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.service import CallError
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.service import Service
    from harness.smtp_server import SmtpServer
    from harness.wire import Wire

ENQUEUE = delivery_pb2.DELIVERY_MODE_ENQUEUE
RESEND = delivery_pb2.UNCERTAIN_POLICY_RESEND
LONG = 20.0
"""Seconds: of a call that is not to be cut off by its deadline, however busy the machine."""


async def send(
    service: Service, *, seconds: float = LONG, token: str | None = None, **fields: Any
) -> pb.SendMessageResponse:
    """Call SendMessage for a mail with a code; fields beside it say how it is to be delivered."""
    request = pb.SendMessageRequest(
        **{"to": "ada@example.com", "type": "SignIn", "payload": {"code": "314159"}, **fields}
    )
    metadata = [("authorization", f"Bearer {token}")] if token is not None else []
    return await service.stub.SendMessage(request, timeout=seconds, metadata=metadata)


async def refused(service: Service, *, seconds: float = LONG, token: str | None = None, **fields: Any) -> CallError:
    """Call it and return the error that it must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await send(service, seconds=seconds, token=token, **fields)
    return CallError(raised.value)


async def eventually(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It does not.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what others do to a file rings no bell
            await asyncio.sleep(0.01)


class Gate:
    """What a server does that holds its replies back until the gate is opened."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()

    async def __call__(self, wire: Wire, reply: bytes) -> None:
        await self._is_open.wait()
        await wire.send(reply)

    def open(self) -> None:
        """Let all replies go, those to come as well."""
        self._is_open.set()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let nobody write to a store inside the context, as a disk that hangs does."""
    with closing(sqlite3.connect(file, timeout=30.0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@dataclass(frozen=True, slots=True)
class Row:
    """A message as it stands in the file of a store."""

    id: str
    state: str
    reason: str
    deferrals: int
    attempt: int
    message_id: str
    due_in: float
    """Seconds from its last change."""
    history: tuple[str, ...]
    """Its states, in order."""
    has_content: bool


def rows(file: Path) -> list[Row]:
    """Return all messages of a SQLite store, the oldest first."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT id, state, last_reason, deferrals, attempt, message_id, (due_at - updated_at) / 1e6, history,"
            " content IS NOT NULL OR wrapped_key IS NOT NULL FROM delivery ORDER BY id"
        ).fetchall()
    return [
        Row(*values, tuple(entry.partition(",")[0] for entry in history.split(";")[:-1]), bool(has_content))
        for *values, history, has_content in found
    ]


def states(file: Path) -> list[str]:
    """Return the states of all messages of a SQLite store, the oldest message first."""
    return [row.state for row in rows(file)]


async def ended(file: Path, *expected: str, seconds: float = 30.0) -> list[Row]:
    """Wait until the messages of a store have come to these states, the oldest message first."""
    try:
        await eventually(lambda: states(file) == list(expected), seconds=seconds)
    except TimeoutError:
        pytest.fail(f"the messages are {rows(file)}")
    return rows(file)


def message_ids(server: SmtpServer) -> list[str]:
    """Return the Message-ID of each mail that a server has taken."""
    return [_message_id(accepted.content) for accepted in server.ledger]


def _message_id(content: bytes) -> str:
    found = re.search(rb"(?im)^message-id:\s*(<[^>]+>)", content)
    assert found is not None
    return found[1].decode()
