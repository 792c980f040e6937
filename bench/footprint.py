"""What the service costs where nothing happens, and at its worst: time to start, memory idle and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.party import TEXT_FRAME, profile
from bench.scene import checked
from bench.sink import running_sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.party import Service
    from bench.result import Results

_IN_FLIGHT = 1000
_MAILS = 5000


@dataclass(frozen=True, slots=True)
class Footprint:
    """Start and memory."""

    parties: Sequence[Service]
    rounds: int
    name: str = "footprint"

    def __len__(self) -> int:
        return self.rounds * len(self.parties)

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        with running_sink(folder) as sink:
            for number in range(self.rounds):
                for party in self.parties:
                    yield f"round {number + 1} of {self.rounds}: {party.title}"
                    with party.at_work(profile(sink.port), folder) as serving:
                        results.add("start to serving", party.name, "seconds", serving.process.seconds_to_ready)
                        results.add("memory, idle", party.name, "MB", serving.process.memory_mb())
                        checked(party, serving, sink, _MAILS, _IN_FLIGHT, TEXT_FRAME)
                        loaded = serving.process.memory_mb("VmHWM")
                        results.add(f"memory, {_IN_FLIGHT} in flight", party.name, "MB", loaded)
