"""What a server can do wrong, and where: the vocabulary of the fault matrix.

An action is a coroutine of a few lines: it gets the connection and the reply that a good server would send now, and
does something else instead. ``Fault(State.RCPT, close)`` reads: where the reply to RCPT is due, close the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from harness.wire import Wire

Action: TypeAlias = Callable[[Wire, bytes], Awaitable[None]]


class State(Enum):
    """Where a session stands; each but the first two of the last lines is the reply that is due."""

    CONNECT = "connect"
    """TCP stands, nothing was said; with implicit TLS the handshake is still to come."""
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    TLS = "TLS"
    """The handshake is due."""
    EHLO2 = "EHLO after STARTTLS"
    AUTH1 = "AUTH"
    AUTH2 = "AUTH response"
    """The client has answered a challenge."""
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BODY = "body"
    """The first octets of the message are here, the last one is not. No reply is due."""
    RECEIVED = "C"
    """The last octet of the message is here and nothing was accepted. What is sent now is a refusal."""
    ACCEPTED = "reply"
    """The message is in the ledger, and the reply that says so is due."""
    IDLE = "idle"
    """A transaction is over. Nothing is due; a test strikes by :meth:`harness.smtp_server.Session.strike`."""
    RSET = "RSET"
    QUIT = "QUIT"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    state: State
    action: Action
    connection: int | None = None
    """The number of the connection, from 1. None: every one."""
    occurrence: int | None = None
    """How many times the session has come to this state, from 1. None: each time."""


async def close(wire: Wire, reply: bytes) -> None:
    """Send FIN instead of the reply. Under TLS there is no close_notify: the stream is truncated."""
    wire.finish()


async def close_politely(wire: Wire, reply: bytes) -> None:
    """Send close_notify and FIN instead of the reply."""
    await wire.close_notify()


async def reset(wire: Wire, reply: bytes) -> None:
    """Send RST instead of the reply."""
    wire.reset()


async def stall(wire: Wire, reply: bytes) -> None:
    """Keep the connection, go on reading, and never answer again."""
    wire.go_silent()


async def stop_reading(wire: Wire, reply: bytes) -> None:
    """Keep the connection and never read again, so that the client's window fills up."""
    await asyncio.Event().wait()


def reply_with(octets: bytes) -> Action:
    """Send these octets instead of the reply and go on."""

    async def action(wire: Wire, reply: bytes) -> None:
        await wire.send(octets)

    return action


def reply_and_close(octets: bytes) -> Action:
    """Send these octets instead of the reply, then FIN, as a server does that says 421."""

    async def action(wire: Wire, reply: bytes) -> None:
        await wire.send(octets)
        wire.finish()

    return action


def followed_by(stray: bytes) -> Action:
    """Send the reply and, in the same segment, octets that nobody asked for."""

    async def action(wire: Wire, reply: bytes) -> None:
        await wire.send(reply + stray)

    return action


def then_in_next_segment(stray: bytes) -> Action:
    """Send the reply and, in a segment of its own, octets that nobody asked for."""

    async def action(wire: Wire, reply: bytes) -> None:
        await wire.send(reply)
        await wire.send(stray)

    return action


def together_with_next(next_reply: bytes) -> Action:
    """Send the reply and, before the next command can have come, the reply to that command too."""

    async def action(wire: Wire, reply: bytes) -> None:
        await wire.send(reply + next_reply)
        wire.skipped_sends += 1

    return action


def drip(seconds: float) -> Action:
    """Send the reply octet by octet, with a pause before each."""

    async def action(wire: Wire, reply: bytes) -> None:
        for octet in reply:
            await asyncio.sleep(seconds)
            await wire.send(bytes([octet]))

    return action


def endless(octets: bytes) -> Action:
    """Send these octets again and again until the client goes."""

    async def action(wire: Wire, reply: bytes) -> None:
        while True:
            await wire.send(octets)
            await asyncio.sleep(0)  # a write that need not wait would never let the client run

    return action


def cut_after(count: int) -> Action:
    """Send the first octets of the reply, then FIN."""

    async def action(wire: Wire, reply: bytes) -> None:
        await wire.send(reply[:count])
        wire.finish()

    return action


MALFORMED = {
    "two digits": b"25 ok\r\n",
    "a sign": b"+25 ok\r\n",
    "an underscore": b"2_5 ok\r\n",
    "four digits": b"2500 ok\r\n",
    "first digit 9": b"999 ok\r\n",
    "first digit 1": b"150 ok\r\n",
    "no separator": b"250ok\r\n",
    "no code": b"ok\r\n",
    "an empty line": b"\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x28\r\n",
    "two codes": b"250-first\r\n550 second\r\n",
    "bare LF": b"250 ok\n",
    "NUL": b"250 o\x00k\r\n",
    "fullwidth digits": "\uff12\uff15\uff10 ok\r\n".encode(),
}
"""Replies that are none, by what is wrong with them."""
