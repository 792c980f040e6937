"""What the store costs and what it can: accepting, sending what waits, and how much later a mail leaves."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from bench import load
from bench.backlog import backlog
from bench.party import OURS, profile
from bench.sink import STALLED, running_clock, running_sink
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.engine import Engine
    from bench.process import Process
    from bench.result import Results
    from bench.sink import Clock

ENQUEUE_FRAME: Final = load.frame("SignIn", {"code": "246810"}, mode=load.ENQUEUE)
_WARM_UP: Final = 300
_MIN: Final = 50
_WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "WAIT": {},
    "WAIT, request_id": {"request_id": ""},
    "ENQUEUE": {"delivery_mode": load.ENQUEUE},
}
"""Ways to ask for a mail; each call's request_id is its own."""


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Messages accepted a second: alone, before a provider that does not answer, and while they are sent."""

    engines: Sequence[Engine]
    in_flight: Sequence[int]
    rounds: int
    seconds: float
    """That one load should take."""
    name: str = "enqueue"

    def __len__(self) -> int:
        return 2 * len(self.engines) * len(self.in_flight) * self.rounds

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        for engine in self.engines:
            for way, options in ((accepting(engine), STALLED), (while_sending(engine), ())):
                with ExitStack() as stack:
                    sink = stack.enter_context(running_sink(folder, *options))
                    place = stack.enter_context(engine.place(folder))
                    waiting = stack.enter_context(backlog(place))
                    serving = stack.enter_context(place.service().at_work(profile(sink.port), folder))
                    rate = serving.send(_WARM_UP, 16, ENQUEUE_FRAME).rate
                    for in_flight in self.in_flight:
                        count = max(_MIN, int(rate * self.seconds))
                        for number in range(self.rounds):
                            yield f"{way}, {in_flight} in flight, round {number + 1} of {self.rounds}"
                            run = serving.send(count, in_flight, ENQUEUE_FRAME)
                            rate = run.rate
                            results.add(way, OURS.name, "accepted/s", rate, in_flight)
                            for unit, share in (("ms p50", 0.5), ("ms p99", 0.99)):
                                results.add(way, OURS.name, unit, run.quantile(share), in_flight)
                            if not options:
                                waiting.wait_until_sent()


def accepting(engine: Engine) -> str:
    """Return the name of the scene in which nothing can be sent."""
    return f"enqueue on {engine.title}"


def while_sending(engine: Engine) -> str:
    """Return the name of the scene in which what is accepted is sent at once."""
    return f"enqueue and send on {engine.title}"


@dataclass(frozen=True, slots=True)
class Drain:
    """A backlog that a server finds when it starts: claimed, sent and finished."""

    engines: Sequence[Engine]
    messages: int
    rounds: int
    name: str = "drain"

    def __len__(self) -> int:
        return len(self.engines) * self.rounds

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        for engine in self.engines:
            with running_sink(folder) as sink:
                for number in range(self.rounds):
                    yield f"{self.messages:,} messages on {engine.title}, round {number + 1} of {self.rounds}"
                    with engine.place(folder) as place, backlog(place) as waiting:
                        waiting.fill(self.messages, State.QUEUED)
                        before = sink.received()
                        with place.service().at_work(profile(sink.port), folder) as serving:
                            meters = {"processor": serving.process, "database's processor": place.database}
                            used = {name: _cpu_seconds(process) for name, process in meters.items()}
                            began = time.perf_counter()
                            waiting.wait_until_sent()
                            took = time.perf_counter() - began
                            used = {name: _cpu_seconds(process) - used[name] for name, process in meters.items()}
                        if sink.received() - before != self.messages:
                            raise RuntimeError(f"{self.messages} messages, {sink.received() - before} mails")
                        results.add(self.name, engine.title, "messages/s", self.messages / took)
                        for name, seconds in used.items():
                            results.add(self.name, engine.title, f"{name} µs a message", seconds / self.messages * 1e6)


@dataclass(frozen=True, slots=True)
class Lateness:
    """One mail at a time on an idle system: when the caller has an answer, and when the provider has the mail."""

    engines: Sequence[Engine]
    mails: int
    name: str = "lateness"

    def __len__(self) -> int:
        return len(self.engines) * len(_WAYS)

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        for engine in self.engines:
            with ExitStack() as stack:
                clock = stack.enter_context(running_clock())
                place = stack.enter_context(engine.place(folder))
                serving = stack.enter_context(place.service().at_work(profile(clock.port), folder))
                channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{serving.port}"))
                stub = connector_service_pb2_grpc.ConnectorServiceStub(channel)
                yield f"{engine.title} warms up"
                _each_way(stub, clock, self.mails // 10)
                yield f"{self.mails} mails on {engine.title}"
                for way, times in _each_way(stub, clock, self.mails).items():
                    for what, milliseconds in zip(("answer", "mail"), zip(*times, strict=True), strict=True):
                        for unit, share in (("ms p50", 0.5), ("ms p99", 0.99)):
                            value = sorted(milliseconds)[int(len(milliseconds) * share)]
                            results.add(f"{what}, {way}", engine.title, unit, value)
                yield f"processor time on {engine.title}"
                for way in _WAYS:
                    before = serving.process.cpu_seconds()
                    for _ in range(self.mails):
                        _one(stub, way, clock)
                    used = serving.process.cpu_seconds() - before
                    results.add(f"answer, {way}", engine.title, "processor µs", used / self.mails * 1e6)


def _cpu_seconds(process: Process | None) -> float:
    return process.cpu_seconds() if process is not None else 0.0


def _each_way(
    stub: connector_service_pb2_grpc.ConnectorServiceStub, clock: Clock, mails: int
) -> dict[str, list[tuple[float, float]]]:
    """Ask for mails in every way, one after the other; the ways take turns."""
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    for _ in range(mails):
        for way, times in took.items():
            times.append(_one(stub, way, clock))
    return took


def _one(stub: connector_service_pb2_grpc.ConnectorServiceStub, way: str, clock: Clock) -> tuple[float, float]:
    """Ask for a mail and return the milliseconds until the answer, and until the provider accepted it."""
    request = pb.SendMessageRequest(to=load.RECIPIENT, type="SignIn", **_WAYS[way])
    request.payload.update({"code": "246810"})
    if "request_id" in _WAYS[way]:
        request.request_id = str(uuid.uuid4())
    began = time.perf_counter()
    stub.SendMessage(request, timeout=30)
    answered = time.perf_counter()
    return (answered - began) * 1000, (clock.next_accepted() - began) * 1000
