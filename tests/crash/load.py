"""The load of a campaign: clients that write down what they ask and what they are told, and ask until they know.

A raw gRPC client without retries, so that each answer is seen as it is. The load is open: requests begin at their time,
whether earlier ones are answered or not. A request with an id is repeated, the same octets, until a definite answer has
come; one without an id never.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from crash.answers import said, word_of
from crash.ledger import Answer, Call, Kept, Ledger, Request, Word
from crash.mixture import Course, draw, draw_course, message
from smtpconnector.v1 import (
    connector_service_pb2_grpc,
    delivery_pb2,
    delivery_service_pb2,
    delivery_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from smtpconnector.v1.connector_service_pb2 import SendMessageRequest, SendMessageResponse

_CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)
_MOST_AT_ONCE = 150
"""Requests under way; beyond it the next one is left out, so that a frozen server does not fill this machine."""
_ASKED_AT_ONCE = 20
_STATE = delivery_pb2.DeliveryState


@dataclass(frozen=True, slots=True)
class _Server:
    sends: Any  # the async stubs of both services; generated code has no common type for them
    tells: Any


class Load:
    """Clients of a service.

    Args:
        addresses: Of the servers; each call takes any one.
        ledger: The client's.
        random: The chance that makes the mixture.
        has_store: Whether the service keeps what it accepts. Without: WAIT and nothing else.
        longest: Seconds that the most patient message lives.
    """

    def __init__(
        self, addresses: Sequence[str], ledger: Ledger, random: Random, *, has_store: bool, longest: float
    ) -> None:
        self.words: Counter[Word] = Counter()
        """How often each was heard."""
        self.requests: list[Request] = []
        self.delivery_ids: dict[str, str] = {}
        """By key, where one was told."""
        self._ledger = ledger
        self._random = random
        self._has_store = has_store
        self._longest = longest
        self._numbers = itertools.count(1)
        self._keys = itertools.count(1)
        self._channels = [grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) for address in addresses]
        self._servers = [
            _Server(
                connector_service_pb2_grpc.ConnectorServiceStub(channel),
                delivery_service_pb2_grpc.DeliveryServiceStub(channel),
            )
            for channel in self._channels
        ]
        self._running: set[asyncio.Task[None]] = set()
        self._messages: dict[str, SendMessageRequest] = {}
        self._stopped = asyncio.Event()
        self._broke: BaseException | None = None

    @property
    def under_way(self) -> int:
        """How many requests have no end yet."""
        return len(self._running)

    @property
    def calls(self) -> int:
        """How many answers there were, silence included."""
        return sum(self.words.values())

    @property
    def heard(self) -> int:
        """How many answers there were that the service gave."""
        return self.calls - self.words[Word.SILENCE]

    async def run(self, rate: float) -> None:
        """Begin ``rate`` requests a second until stopped."""
        while not self._stopped.is_set():
            if len(self._running) < _MOST_AT_ONCE:
                key = f"k{next(self._keys)}"
                request = draw(self._random, key, has_store=self._has_store, longest=self._longest)
                self._start(self._pursue(request, draw_course(self._random)))
            await asyncio.sleep(self._random.expovariate(rate))
        if self._broke is not None:  # a mistake of the harness must not pass unseen
            raise self._broke

    async def stop(self, *, within: float) -> None:
        """Begin no more requests, and wait for the answers of those under way."""
        self._stopped.set()
        give_up = time.monotonic() + within
        while self._running and time.monotonic() < give_up:
            await asyncio.wait(self._running, timeout=give_up - time.monotonic())
        for task in list(self._running):
            task.cancel()
        if self._broke is not None:
            raise self._broke

    async def repeat(self, share: float) -> None:
        """Ask for a share of all requests once more, as a client does that has forgotten the answer."""
        asked = [request for request in self.requests if request.request_id and self._random.random() < share]
        for some in _batches(asked):
            await asyncio.gather(*(self._send(request, deadline=10.0) for request in some))

    async def kept(self) -> list[Kept]:
        """Return what the store says of each request that it can be asked for."""
        found: list[Kept] = []
        asked = [
            request
            for request in self.requests
            if not request.rivals and (request.request_id or request.key in self.delivery_ids)
        ]
        for some in _batches(asked):
            found += filter(None, await asyncio.gather(*map(self._kept, some)))
        return found

    async def open_deliveries(self) -> int:
        """Return how many deliveries have no end yet; up to 500."""
        request = delivery_service_pb2.ListDeliveriesRequest(
            states=[_STATE.DELIVERY_STATE_QUEUED, _STATE.DELIVERY_STATE_SENDING], page_size=500
        )
        response = await self._random.choice(self._servers).tells.ListDeliveries(request, timeout=10)
        return len(response.deliveries)

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            await channel.close()

    def _register(self, request: Request, octets: int = 0) -> None:
        self._messages[request.key] = message(request, octets)
        self.requests.append(request)
        self._ledger.write(request)

    def _start(self, work: Any) -> None:  # a coroutine of any kind
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broke = error
            self._stopped.set()

    async def _pursue(self, request: Request, course: Course) -> None:
        """Ask until there is a definite answer, and do what clients do beside it."""
        self._register(request, course.octets)
        if request.request_id:
            if course.is_cancelled:
                self._start(self._later(self._cancel(request)))
            if course.is_watched:
                self._start(self._later(self._get(request)))
            if course.is_doubled:
                self._start(self._later(self._ask(request, course.deadline), most=0.3))
        answer = await self._ask(request, course.deadline, given_up_after=0.2 if course.is_given_up else None)
        if not request.request_id:
            return
        if course.is_rivalled and answer.delivery_id:
            self._start(self._rival(request))
        if course.is_repeated:
            self._start(self._later(self._ask(request, course.deadline), most=4.0))

    async def _ask(self, request: Request, deadline: float, *, given_up_after: float | None = None) -> Answer:
        answer = await self._send(request, deadline=deadline, given_up_after=given_up_after)
        while request.request_id and not _is_enough(answer.word):
            await asyncio.sleep(self._random.uniform(0.3, 2.0))
            answer = await self._send(request, deadline=max(deadline, 3.0))
            if answer.word is Word.NOT_SENT and self._random.random() < 0.5:
                answer = await self._send(request, deadline=max(deadline, 3.0))
        return answer

    async def _rival(self, request: Request) -> None:
        rival = Request(key=f"{request.key}x", request_id=request.request_id, mode=request.mode, rivals=request.key)
        self._register(rival)
        await self._ask(rival, 5.0)

    async def _later(self, work: Awaitable[object], *, most: float = 1.0) -> None:
        await asyncio.sleep(self._random.uniform(0, most))
        await work

    async def _send(self, request: Request, *, deadline: float, given_up_after: float | None = None) -> Answer:
        asked = self._messages[request.key]

        async def invoke(server: _Server) -> tuple[Word, str, str]:
            call = server.sends.SendMessage(asked, timeout=deadline)
            if given_up_after is not None:
                asyncio.get_running_loop().call_later(given_up_after, call.cancel)
            response: SendMessageResponse = await call
            return word_of(response.state), response.message_id, response.delivery_id

        return await self._call(request, "send", deadline, invoke)

    async def _cancel(self, request: Request) -> None:
        async def invoke(server: _Server) -> tuple[Word, str, str]:
            asked = delivery_service_pb2.CancelDeliveryRequest(request_id=request.request_id)
            delivery = (await server.tells.CancelDelivery(asked, timeout=5.0)).delivery
            return word_of(delivery.state), delivery.message_id, delivery.id

        await self._call(request, "cancel", 5.0, invoke)

    async def _get(self, request: Request) -> None:
        async def invoke(server: _Server) -> tuple[Word, str, str]:
            asked = delivery_service_pb2.GetDeliveryRequest(request_id=request.request_id)
            delivery = (await server.tells.GetDelivery(asked, timeout=5.0)).delivery
            return word_of(delivery.state), delivery.message_id, delivery.id

        await self._call(request, "get", 5.0, invoke)

    async def _call(
        self,
        request: Request,
        method: str,
        deadline: float,
        invoke: Callable[[_Server], Awaitable[tuple[Word, str, str]]],
    ) -> Answer:
        number, began = next(self._numbers), time.time()
        self._ledger.write(Call(key=request.key, number=number, method=method, began=began, deadline=began + deadline))
        word, reason, message_id, delivery_id = Word.SILENCE, "", "", ""
        try:
            word, message_id, delivery_id = await invoke(self._random.choice(self._servers))
        except grpc.aio.AioRpcError as error:
            word, reason = said(error)
        except asyncio.CancelledError:
            reason = "given up"
        answer = Answer(
            key=request.key,
            number=number,
            ended=time.time(),
            word=word,
            reason=reason,
            message_id=message_id,
            delivery_id=delivery_id,
        )
        self._ledger.write(answer)
        self.words[word] += 1
        if delivery_id:
            self.delivery_ids[request.key] = delivery_id
        return answer

    async def _kept(self, request: Request) -> Kept | None:
        named = {"request_id": request.request_id} if request.request_id else {"id": self.delivery_ids[request.key]}
        tells = self._random.choice(self._servers).tells
        try:
            asked = delivery_service_pb2.GetDeliveryRequest(**named)
            delivery = (await tells.GetDelivery(asked, timeout=20)).delivery
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        word = word_of(delivery.state)
        history: list[str] = []
        if word is not Word.ACCEPTED:  # a watch ends after a final state
            asked_again = delivery_service_pb2.WatchDeliveryRequest(**named)
            async for change in tells.WatchDelivery(asked_again, timeout=20):
                name = _STATE.Name(change.state).removeprefix("DELIVERY_STATE_")
                history.append(f"{name} {change.reason}".strip())
        return Kept(
            key=request.key,
            word=word,
            is_final=word is not Word.ACCEPTED,
            delivery_id=delivery.id,
            message_id=delivery.message_id,
            history=tuple(history),
        )


def _is_enough(word: Word) -> bool:
    return word.is_definite or word in {Word.ACCEPTED, Word.CONFLICT, Word.DEFECT}


def _batches(items: list[Request]) -> list[list[Request]]:
    return [items[start : start + _ASKED_AT_ONCE] for start in range(0, len(items), _ASKED_AT_ONCE)]
