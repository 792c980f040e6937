"""Messages put into a store as a server would have left them there, without a server."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from bench.load import RECIPIENT
from bench.party import TEXT, profile
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.config.source import Source, SourceKind
from smtpconnector_server.delivery.composition import MailRequest, compose
from smtpconnector_server.delivery.prepared import Prepared, prepare
from smtpconnector_server.message.address import parse_address
from smtpconnector_server.outbox.parcel import pack
from smtpconnector_server.store.location import OpenStore, open_store
from smtpconnector_server.store.record import Attempt, Claim, Draft, Ending
from smtpconnector_server.store.state import Mode, State, UncertainPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.engine import Place

_AT_ONCE: Final = 64
_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 300.0
_DAY: Final = 24 * 3600.0
_DEAD: Final = "a server that is no more"
_SENT: Final = Ending(
    state=State.SENT, attempt=Attempt(host="127.0.0.1", reply_code=250, reply_text="2.0.0 Ok", connections=1)
)


class Backlog:
    """A store seen from outside, beside the server that uses it."""

    def __init__(self, kept: OpenStore, loop: asyncio.AbstractEventLoop) -> None:
        self._kept = kept
        self._loop = loop

    def fill(self, count: int, state: State) -> None:
        """Put messages into the store.

        Args:
            count: How many.
            state: QUEUED; SENDING, by a server that is dead; or SENT.
        """
        self._loop.run_until_complete(_fill(self._kept, count, state))

    def depth(self) -> Mapping[State, int]:
        """Return how many messages are queued and in hand."""
        return self._loop.run_until_complete(self._kept.store.depth()).by_state

    def wait_until_sent(self) -> None:
        """Wait until nothing is queued or in hand any more.

        Raises:
            RuntimeError: It takes too long.
        """
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up:
            time.sleep(_LOOK_SECONDS)
            found = self.depth()
            if not found[State.QUEUED] and not found[State.SENDING]:
                return
        raise RuntimeError("the queue does not get empty")


@contextmanager
def backlog(place: Place) -> Iterator[Backlog]:
    """Open a store."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        stack = AsyncExitStack()
        kept = loop.run_until_complete(stack.enter_async_context(open_store(place.location, Secret(str(place.key)))))
        if kept is None:
            raise ValueError("the benchmark's store keeps nothing")
        try:
            yield Backlog(kept, loop)
        finally:
            loop.run_until_complete(stack.aclose())


async def _fill(kept: OpenStore, count: int, state: State) -> None:
    connector = read_document(profile(25), origin=Origin.PROFILE).connector
    if connector is None:
        raise ValueError("the benchmark's own profile is wrong")
    prepared = prepare(connector, "default")
    left = count

    async def put_some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await _put(kept, prepared, state)

    await asyncio.gather(*(put_some() for _ in range(_AT_ONCE)))


async def _put(kept: OpenStore, prepared: Prepared, state: State) -> None:
    request = MailRequest(to=parse_address(RECIPIENT), usage_type=TEXT["usageType"], payload={"code": "246810"})
    composed = await compose(request, prepared)
    source = Source(SourceKind.PROFILE, profile="default")
    delivery_id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
    draft = Draft(
        id=delivery_id,
        caller="anybody",
        lane="profile:default",
        profile="default",
        usage_type=composed.usage_type,
        message_id=composed.mail.message_id,
        mode=Mode.ENQUEUE,
        policy=UncertainPolicy.HOLD,
        expires_at=time.time() + _DAY,
        lapses_to=State.EXPIRED,
        request_hash=secrets.token_bytes(32),
        fingerprint=secrets.token_bytes(32),
        supersede_hash=None,
        sealed=kept.sealer.seal(delivery_id, pack(composed, source)),
    )
    accepted = await kept.store.accept(draft, owner=None if state is State.QUEUED else _DEAD)
    if state is State.SENT and isinstance(accepted, Claim):
        await kept.store.finish(accepted, _SENT)
