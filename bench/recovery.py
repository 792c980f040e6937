"""Starting over a store that is full: how soon it serves, and how soon what a dead server left is in hand again."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from bench.backlog import backlog
from bench.party import profile
from bench.sink import running_sink
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc
from smtpconnector_server.outbox.worker import MAX_UNDER_WAY_IN_LANE
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.engine import Engine, Place
    from bench.result import Results
    from bench.sink import Sink

LEFT: Final = {None: "nothing", State.SENT: "ended", State.QUEUED: "queued", State.SENDING: "in hand of a dead server"}
"""What a server may find in the store."""
_LOOK_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 400.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the start of the process."""

    engines: Sequence[Engine]
    messages: int
    rounds: int
    name: str = "recovery"

    def __len__(self) -> int:
        return len(self.engines) * len(LEFT)

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        for engine in self.engines:
            for state, found in LEFT.items():
                yield f"{found}: {self.messages:,} messages on {engine.title}"
                with running_sink(folder) as sink, engine.place(folder) as place:
                    if state is not None:
                        with backlog(place) as left:
                            left.fill(self.messages, state)
                        os.sync()  # or the first fsync would wait for what was written just now
                    starts = 1 if state is State.SENDING else self.rounds  # a start changes what is in hand
                    for _ in range(starts):
                        self._start(results, state, engine, place, sink, folder)

    def _start(
        self, results: Results, state: State | None, engine: Engine, place: Place, sink: Sink, folder: Path
    ) -> None:
        scene = f"recovery, {LEFT[state]}"
        before = sink.received()
        began = time.perf_counter()
        with place.service().at_work(profile(sink.port), folder) as serving:
            with grpc.insecure_channel(f"127.0.0.1:{serving.port}") as channel:
                stub = connector_service_pb2_grpc.ConnectorServiceStub(channel)
                stub.GetMetadata(pb.GetMetadataRequest(), timeout=60, wait_for_ready=True)
            results.add(scene, engine.title, "s to serving", time.perf_counter() - began)
            if state in {State.QUEUED, State.SENDING}:
                _wait(lambda: sink.received() > before)
                results.add(scene, engine.title, "s to the first mail", time.perf_counter() - began)
            if state is State.SENDING:
                with backlog(place) as left:
                    _wait(lambda: left.depth()[State.SENDING] <= MAX_UNDER_WAY_IN_LANE)
                results.add(scene, engine.title, "s to the last taken over", time.perf_counter() - began)


def _wait(is_done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not is_done():
        if time.monotonic() > give_up:
            raise RuntimeError("it takes too long")
        time.sleep(_LOOK_SECONDS)
