"""One mail through the pool, and what its sender is told: the client's side of the fault matrix."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from harness.certificates import ca_pem
from harness.sasl import Credentials
from smtpconnector_server.config.model import LoginAuth, Server, Timeouts, TlsMode, TlsOptions
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Outcome
from smtpconnector_server.smtp.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from smtpconnector_server.smtp.pool import SessionPool

CREDENTIALS = Credentials()
ENVELOPE = Envelope(sender="sender@example.com", recipient="recipient@example.com")
PATIENT = Timeouts(dns=20, connection=20, greeting=20, socket=20)
"""For cells in which nothing stalls: longer than any hiccup of the machine."""


class Transport(Enum):
    """How a connection is protected."""

    PLAIN = TlsMode.DISABLED
    STARTTLS = TlsMode.STARTTLS_REQUIRED
    IMPLICIT_TLS = TlsMode.IMPLICIT


class Answer(Enum):
    """What the sender of a mail is told."""

    SENT = "SENT"
    NOT_SENT = "NOT_SENT"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Told:
    """An answer and why."""

    answer: Answer
    why: str


def configuration(
    port: int, transport: Transport, *, timeouts: Timeouts = PATIENT, single_flight: bool = False
) -> Server:
    """Describe the scripted server as a configuration of ours would."""
    return Server(
        host="127.0.0.1",
        port=port,
        tls_mode=transport.value,
        tls=TlsOptions(ca_pem=ca_pem()),
        auth=LoginAuth(user=CREDENTIALS.user, password=Secret(CREDENTIALS.password)),
        client_hostname="client.example.com",
        timeouts=timeouts,
        single_flight=single_flight,
    )


async def attempt(
    pool: SessionPool, server: Server, message: bytes, *, cancelled_when: Coroutine[None, None, None] | None = None
) -> Told:
    """Send one mail; give up as soon as ``cancelled_when`` returns."""
    is_committed = False

    async def commit() -> None:
        nonlocal is_committed
        is_committed = True

    async def send() -> None:
        async with pool.session(server) as session:
            await session.send(ENVELOPE, message, on_commit=commit)

    sending = asyncio.create_task(send())
    if cancelled_when is not None:
        waiting = asyncio.create_task(cancelled_when)
        await asyncio.wait((sending, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        sending.cancel()
    try:
        await sending
    except Failure as failure:
        return Told(_ANSWERS[failure.outcome], f"{failure.reason} at {failure.stage}: {failure.message}")
    except asyncio.CancelledError:
        return Told(Answer.UNKNOWN if is_committed else Answer.NOT_SENT, "cancelled")
    return Told(Answer.SENT, "accepted")


_ANSWERS = {
    Outcome.NOT_SENT: Answer.NOT_SENT,
    Outcome.REJECTED: Answer.REJECTED,
    Outcome.UNKNOWN: Answer.UNKNOWN,
}
