"""Whole calls of the service meet a server that fails at each state: what callers hear, and how many mails there are.

That an error has details proves that the service gave it in time: gRPC's own ``DEADLINE_EXCEEDED`` has none.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.attempt import CREDENTIALS
from harness.certificates import ca_pem, server_context
from harness.documents import plain_templates
from harness.fault import Action, Fault, State, close, reset, stall
from harness.service import CallError, Service, running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import connector_service_pb2

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = (
    State.CONNECT,
    State.GREETING,
    State.EHLO,
    State.STARTTLS,
    State.TLS,
    State.EHLO2,
    State.AUTH1,
    State.AUTH2,
)
CERTAIN_IN_TWO_FLIGHTS = (*BEFORE, State.MAIL, State.RCPT, State.DATA)
UNCERTAIN_IN_TWO_FLIGHTS = (State.RECEIVED, State.ACCEPTED)
CERTAIN_IN_SINGLE_FLIGHT = BEFORE
UNCERTAIN_IN_SINGLE_FLIGHT = (State.MAIL, State.RCPT, State.RECEIVED, State.ACCEPTED)


@dataclass(frozen=True)
class Cell:
    """A state at which the server's first connection fails, and whether the end of the message has left by then."""

    state: State
    single_flight: bool
    is_uncertain: bool

    @property
    def profile(self) -> str:
        return f"{'single' if self.single_flight else 'two'}_{self.state.name.lower()}"


CELLS = (
    *(Cell(state, single_flight=False, is_uncertain=False) for state in CERTAIN_IN_TWO_FLIGHTS),
    *(Cell(state, single_flight=False, is_uncertain=True) for state in UNCERTAIN_IN_TWO_FLIGHTS),
    *(Cell(state, single_flight=True, is_uncertain=False) for state in CERTAIN_IN_SINGLE_FLIGHT),
    *(Cell(state, single_flight=True, is_uncertain=True) for state in UNCERTAIN_IN_SINGLE_FLIGHT),
)


async def told_by_each_call(
    action: Action, folder: Path, *, seconds: float
) -> tuple[dict[Cell, tuple[str, ...]], dict[Cell, SmtpServer]]:
    """Send one mail into each cell, all at once. Returns what was told, and the servers for their ledgers."""
    async with AsyncExitStack() as stack:
        servers = {cell: await stack.enter_async_context(_server_for(cell, action)) for cell in CELLS}
        profiles = {cell.profile: _document_for(server, cell) for cell, server in servers.items()}
        service = await stack.enter_async_context(running_service(profiles, folder, grace=0.1))
        told = await asyncio.gather(*(_call(service, cell.profile, seconds=seconds) for cell in CELLS))
    return dict(zip(CELLS, told, strict=True)), servers


async def _call(service: Service, profile: str, *, seconds: float) -> tuple[str, ...]:
    request = connector_service_pb2.SendMessageRequest(
        to="a@example.com", type="SignIn", payload={"code": "1"}, config={"profile": profile}
    )
    try:
        await service.stub.SendMessage(request, timeout=seconds)
    except grpc.aio.AioRpcError as raised:
        error = CallError(raised)
        return error.code.name, error.reason, error.metadata.get("outcome", "nobody knows")
    return ("OK",)


def _server_for(cell: Cell, action: Action) -> SmtpServer:
    return SmtpServer(
        Fault(cell.state, action, connection=1),
        tls=server_context(),
        credentials=CREDENTIALS,
        mechanisms=("LOGIN",) if cell.state is State.AUTH2 else ("PLAIN",),
    )


def _document_for(server: SmtpServer, cell: Cell) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "requireTLS": True,
        "tls": {"ca": ca_pem()},
        "auth": {"user": CREDENTIALS.user, "pass": CREDENTIALS.password},
        "fromEmail": "sender@example.com",
        "templates": plain_templates(),
        "singleFlight": cell.single_flight,
    }


async def test_silence_at_every_state_is_told_before_the_deadline(tmp_path: Path) -> None:
    told, servers = await told_by_each_call(stall, tmp_path, seconds=3.0)
    assert told == {
        cell: (
            ("UNKNOWN", "DELIVERY_UNCERTAIN", "UNKNOWN")
            if cell.is_uncertain
            else ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "NOT_SENT")
        )
        for cell in CELLS
    }
    assert {cell.state for cell, server in servers.items() if server.ledger} == {State.ACCEPTED}


@pytest.mark.parametrize("action", [close, reset])
async def test_a_mail_that_certainly_was_not_sent_is_sent_again_and_no_other(action: Action, tmp_path: Path) -> None:
    told, servers = await told_by_each_call(action, tmp_path, seconds=20.0)
    assert told == {
        cell: ("UNKNOWN", "DELIVERY_UNCERTAIN", "UNKNOWN") if cell.is_uncertain else ("OK",) for cell in CELLS
    }
    assert {cell: len(server.sessions) for cell, server in servers.items()} == {
        cell: 1 if cell.is_uncertain else 2 for cell in CELLS
    }
    assert {cell: len(server.ledger) for cell, server in servers.items()} == {
        cell: int(not cell.is_uncertain or cell.state is State.ACCEPTED) for cell in CELLS
    }
