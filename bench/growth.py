"""How the cost of a mail grows with what there is: processor time of the server, which needs no quiet machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import load
from bench.party import OURS, TEXT, TEXT_FRAME, Service, profile
from bench.scene import checked
from bench.sink import running_sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.party import Serving
    from bench.result import Results
    from bench.sink import Sink

_IN_FLIGHT = 200
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Growth:
    """Cost against connections, templates, profiles and payload."""

    rounds: int
    mails: int
    name: str = "growth"

    connections: tuple[int, ...] = (1, 3, 10, 30, 100)
    templates: tuple[int, ...] = (4, 20, 100)
    profiles: tuple[int, ...] = (1, 100, 10_000)
    payload_kib: tuple[int, ...] = (1, 4, 16, 60)

    def __len__(self) -> int:
        return len(self.connections) + len(self.templates) + len(self.profiles) + len(self.payload_kib)

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        with running_sink(folder) as sink:
            for count in self.connections:
                yield f"{count} connections"
                with OURS.at_work(profile(sink.port, connections=count), folder) as serving:
                    self._measure(results, "connections", count, serving, sink)
            for count in self.templates:
                yield f"{count} templates"
                others = [{**TEXT, "usageType": f"Other{number}"} for number in range(count - 4)]
                with OURS.at_work(profile(sink.port, *others), folder) as serving:
                    self._measure(results, "templates", count, serving, sink)
            for count in self.profiles:
                yield f"{count} profiles"
                with _with_profiles(count, sink.port, folder).at_work({}, folder) as serving:
                    results.add("profiles", OURS.name, "seconds to start", serving.process.seconds_to_ready, count)
                    results.add("profiles", OURS.name, "MB", serving.process.memory_mb(), count)
                    frame = load.frame("SignIn", {"code": "246810"}, profile=f"p{count - 1}")
                    self._measure(results, "profiles", count, serving, sink, frame)
            template = {**TEXT, "usageType": "Long", "content": "{{text}}\n"}
            with OURS.at_work(profile(sink.port, template), folder) as serving:
                for size in self.payload_kib:
                    yield f"{size} KiB of payload"
                    lines = "a line of the text of a long mail, with <signs> & all\n" * (size * _KIB // 54)
                    frame = load.frame("Long", {"text": lines})
                    self._measure(results, "KiB of payload", size, serving, sink, frame)

    def _measure(
        self, results: Results, scene: str, at: float, serving: Serving, sink: Sink, frame: bytes = TEXT_FRAME
    ) -> None:
        checked(OURS, serving, sink, _IN_FLIGHT, _IN_FLIGHT, frame)  # warms up
        for _ in range(self.rounds):
            before = serving.process.cpu_seconds()
            run = checked(OURS, serving, sink, self.mails, _IN_FLIGHT, frame)
            took = serving.process.cpu_seconds() - before
            results.add(scene, OURS.name, "µs of processor a mail", took / self.mails * 1e6, at)
            results.add(scene, OURS.name, "mails/s", run.rate, at)


def _with_profiles(count: int, smtp_port: int, folder: Path) -> Service:
    """Return our service with many profiles, all alike."""
    file, settings = folder / f"many-{count}.json", folder / f"many-{count}.toml"
    file.write_text(json.dumps(profile(smtp_port)), encoding="utf-8")
    settings.write_text("[profile]\n" + "".join(f"p{number} = {json.dumps(str(file))}\n" for number in range(count)))
    command = [*OURS.command[:4], "--settings", settings, "--log-format", "json"]
    return Service(name=OURS.name, title=OURS.title, command=command)
