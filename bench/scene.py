"""Scenes: what the parties are made to do, one after the other within each round, so that all have the same weather."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench import load
from bench.party import TEXT_FRAME, profile
from bench.sink import running_sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.party import Party, Sending
    from bench.result import Results
    from bench.sink import Sink

_WARM_UP_SECONDS = 1.5
"""For just-in-time compilers and pools."""
_WARM_UP_MAILS = 300
_MIN_MAILS = 50
_MAX_MAILS = 60_000
_BURST = 1000
_HTML_VALUES = 60
_HTML_ROW = '<tr><td style="padding:8px 12px;font:14px Arial">{{%s}}</td><td>a line of the text of the mail</td></tr>\n'


class Scene(Protocol):
    """Something that is measured."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    def __len__(self) -> int:
        """Return its number of steps."""

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure; yield what is about to be done before each step."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Mails a second, and how long each takes."""

    name: str
    parties: Sequence[Party]
    in_flight: Sequence[int]
    rounds: int
    seconds: float
    """That one load should take."""
    frame: bytes = TEXT_FRAME
    templates: tuple[dict[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.parties) * (1 + self.rounds * len(self.in_flight))

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        with ExitStack() as stack:
            sink = stack.enter_context(running_sink(folder))
            at_work: list[tuple[Party, Sending]] = []
            for party in self.parties:
                yield f"{party.title} warms up"
                context: AbstractContextManager[Sending] = party.at_work(profile(sink.port, *self.templates), folder)
                sending = stack.enter_context(context)
                _warm_up(sending, self.frame)
                at_work.append((party, sending))
            for in_flight in self.in_flight:
                counts: dict[str, int] = {}
                for number in range(self.rounds):
                    for party, sending in at_work:
                        yield f"{in_flight} in flight, round {number + 1} of {self.rounds}: {party.title}"
                        if party.name not in counts:
                            rate = sending.send(_WARM_UP_MAILS, in_flight, self.frame).rate
                            counts[party.name] = min(max(int(rate * self.seconds), _MIN_MAILS), _MAX_MAILS)
                        run = checked(party, sending, sink, counts[party.name], in_flight, self.frame)
                        _take(results, self.name, party, run, in_flight)


@dataclass(frozen=True, slots=True)
class Burst:
    """A thousand mails at once for a service that has just been started."""

    parties: Sequence[Party]
    rounds: int
    name: str = "burst"

    def __len__(self) -> int:
        return len(self.parties) * self.rounds

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        with running_sink(folder) as sink:
            for number in range(self.rounds):
                for party in self.parties:
                    yield f"{_BURST} mails at once, round {number + 1} of {self.rounds}: {party.title}"
                    with party.at_work(profile(sink.port), folder) as sending:
                        run = checked(party, sending, sink, _BURST, _BURST, TEXT_FRAME)
                        results.add(self.name, party.name, "seconds", run.seconds)


def html_template() -> tuple[dict[str, str], bytes]:
    """Return an HTML template with many placeholders, and a call for it."""
    names = [f"value{number}" for number in range(_HTML_VALUES)]
    content = "<html><body><table>\n" + "".join(_HTML_ROW % name for name in names) + "</table></body></html>\n"
    template = {"usageType": "Invoice", "contentType": "text/html", "subject": "Invoice {{value0}}", "content": content}
    payload = {name: f"Größe <{number}> & Preis „{number * 7},00 €“" for number, name in enumerate(names)}
    return template, load.frame("Invoice", payload)


def checked(party: Party, sending: Sending, sink: Sink, count: int, in_flight: int, frame: bytes) -> load.Run:
    """Send, and make sure that every mail arrived.

    Raises:
        RuntimeError: Not so many mails arrived as were answered.
    """
    before = sink.received()
    run = sending.send(count, in_flight, frame)
    arrived = sink.received() - before
    if party.reaches_smtp and arrived != count:
        raise RuntimeError(f"{party.title}: {count} mails were answered and {arrived} arrived")
    return run


def _warm_up(sending: Sending, frame: bytes) -> None:
    until = time.monotonic() + _WARM_UP_SECONDS
    while time.monotonic() < until:
        sending.send(_WARM_UP_MAILS, 16, frame)


def _take(results: Results, scene: str, party: Party, run: load.Run, in_flight: int) -> None:
    results.add(scene, party.name, "mails/s", run.rate, in_flight)
    if run.milliseconds:
        for unit, share in (("ms p50", 0.5), ("ms p99", 0.99)):
            results.add(scene, party.name, unit, run.quantile(share), in_flight)
