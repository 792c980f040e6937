"""Whatever meets whatever: calls, cancellations, deadlines, faults, stops and frozen servers in random order.

At the end the ledgers of the caller, the store and the SMTP server are joined.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.documents import document_for
from harness.durable import ENQUEUE, RESEND, eventually, message_ids, rows, send, states
from harness.fault import Action, Fault, State, close, reply_and_close, reply_with, reset
from harness.service import CallError, running_service
from harness.smtp_server import SmtpServer
from smtpconnector.v1 import delivery_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from harness.service import Service
    from harness.wire import Wire

CALLS = 120
NEVER_LEFT = {"NOT_SENT", "REJECTED", "EXPIRED", "CANCELLED", "SUPERSEDED"}


class Campaign:
    """What was done, and what was told."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - reproducible
        self.told: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        """By request id: OK and the Message-ID, or an outcome and the reason."""
        self.calls: Counter[str] = Counter()

    def sometimes(self, state: State, action: Action, share: float) -> Fault:
        """Return a fault that strikes now and then."""

        async def maybe(wire: Wire, reply: bytes) -> None:
            if self.random.random() < share:
                await action(wire, reply)
            elif reply and state is not State.RECEIVED:
                await wire.send(reply)

        return Fault(state, maybe)

    async def call(self, service: Service, number: int) -> None:
        """Send one mail, perhaps in more than one try."""
        request_id = f"r{number}"
        fields: dict[str, Any] = {
            "request_id": request_id,
            "to": f"{request_id}@example.com",
            "delivery_mode": self.random.choice([ENQUEUE, delivery_pb2.DELIVERY_MODE_WAIT]),
            "uncertain_policy": self.random.choice([RESEND, delivery_pb2.UNCERTAIN_POLICY_HOLD]),
            "supersede_key": self.random.choice(["", "", "", f"k{number % 7}"]),
        }
        for _ in range(self.random.choice([1, 1, 2, 3])):
            calling = asyncio.ensure_future(send(service, seconds=self.random.choice([0.3, 1.0, 30.0]), **fields))
            if self.random.random() < 0.3:
                await asyncio.wait([calling], timeout=self.random.uniform(0.0, 0.1))
                calling.cancel()
            await asyncio.wait([calling])
            self.calls[request_id] += 1
            self.note(request_id, calling)

    def note(self, request_id: str, calling: asyncio.Future[Any]) -> None:
        if calling.cancelled():
            return
        error = calling.exception()
        if error is None:
            answer = calling.result()
            if answer.state == delivery_pb2.DELIVERY_STATE_SENT:
                self.told[request_id].append(("OK", answer.message_id))
        elif isinstance(error, grpc.aio.AioRpcError):
            told = CallError(error)
            if told.reason:
                self.told[request_id].append((told.metadata["outcome"], told.reason))


@pytest.mark.parametrize("seed", [1])
async def test_the_ledgers_agree(seed: int, tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    campaign = Campaign(seed)
    async with SmtpServer(extensions=()) as server:
        server.faults = (
            *(campaign.sometimes(state, close, 0.05) for state in (State.GREETING, State.MAIL, State.DATA)),
            campaign.sometimes(State.RCPT, reply_with(b"450 4.2.0 Not now\r\n"), 0.1),
            campaign.sometimes(State.ACCEPTED, reset, 0.1),
            campaign.sometimes(State.EHLO, reply_and_close(b"421 4.3.2 Bye\r\n"), 0.05),
        )
        profiles = {"default": document_for(server)}
        async with running_service(profiles, tmp_path, store=str(file)) as one:
            for start in range(0, CALLS, CALLS // 3):
                async with AsyncExitStack() as stack:
                    other = await stack.enter_async_context(
                        running_service(profiles, tmp_path, store=str(file), grace=campaign.random.choice([0.0, 0.5]))
                    )
                    calls = [
                        asyncio.ensure_future(campaign.call(campaign.random.choice([one, other]), number))
                        for number in range(start, start + CALLS // 3)
                    ]
                    await asyncio.wait(calls, timeout=campaign.random.uniform(0.2, 0.6))
                    if campaign.random.random() < 0.5:
                        forget_servers(file)
                await asyncio.gather(*calls)
            server.faults = ()
            await eventually(lambda: not {"QUEUED", "SENDING"} & set(states(file)), seconds=90)

        check(campaign, file, server)


def check(campaign: Campaign, file: Path, server: SmtpServer) -> None:
    arrived = Counter(message_ids(server))
    recipients = {accepted.recipients[0].decode().partition("@")[0] for accepted in server.ledger}
    kept = {row.message_id: row for row in rows(file)}
    assert set(arrived) <= set(kept)
    for message_id, row in kept.items():
        copies = arrived[message_id]
        assert copies <= 2, row
        if row.state == "SENT":
            assert copies >= 1, row
        elif row.state in NEVER_LEFT:
            assert copies == 0, row
    for request_id, told in campaign.told.items():
        assert all(arrived[what] for outcome, what in told if outcome == "OK"), (request_id, told)
        is_all = campaign.calls[request_id] == len(told)
        if is_all and all(outcome in {"NOT_SENT", "REJECTED"} for outcome, _ in told):
            assert request_id not in recipients, told
    policies = dict(_policies(file))
    assert all(copies == 1 or policies[message_id] == "RESEND" for message_id, copies in arrived.items())


def _policies(file: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT message_id, policy FROM delivery").fetchall()


def forget_servers(file: Path) -> None:
    """Have all servers taken for dead, until they say again that they live."""
    with closing(sqlite3.connect(file, timeout=10.0)) as connection, connection:
        connection.execute("UPDATE server SET alive_until = 0")
