"""`make bench`: measure smtpconnector beside its peers, print tables of ratios and write bench/results/.

Everything runs on this machine's loopback, one party after the other within each round; counts and time are bounded.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import plot
from bench.durable import Drain, Enqueue, Lateness
from bench.engine import PostgreSql, Sqlite
from bench.footprint import Footprint
from bench.growth import Growth
from bench.party import (
    AIOSMTPLIB,
    BARE,
    ECHO,
    LOGTO,
    LOGTO_NEWEST,
    NODE_POOL,
    OURS,
    OURS_FLIGHT,
    OURS_KEPT,
    OURS_TWO,
    smtp_source,
)
from bench.recovery import Recovery
from bench.report import grids
from bench.result import Results
from bench.round_trip import RoundTrips
from bench.scene import Burst, Throughput, html_template
from bench.stage import Stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.scene import Scene

_RESULTS = Path(__file__).parent / "results"


def _scenes(*, quick: bool, rounds: int) -> list[Scene]:
    template, frame = html_template()
    services = (OURS, OURS_TWO, ECHO, BARE, NODE_POOL, LOGTO, LOGTO_NEWEST)
    engines = (Sqlite(), PostgreSql())
    if quick:
        return [
            Throughput("throughput", (OURS, ECHO, BARE, NODE_POOL, LOGTO), (16, 64), rounds, 0.6),
            Enqueue(engines, (64,), 1, 0.5),
            Drain(engines, 1000, 1),
            Lateness(engines, 50),
            Footprint((OURS,), 1),
            Stages(0.1),
        ]
    return [
        Throughput("throughput", (*services, AIOSMTPLIB, smtp_source()), (1, 16, 64, 256), rounds, 2.0),
        Throughput("html", (OURS, NODE_POOL, LOGTO), (64,), rounds, 1.5, frame, (template,)),
        Burst((OURS, OURS_TWO, NODE_POOL, LOGTO, LOGTO_NEWEST), rounds),
        RoundTrips((OURS, OURS_FLIGHT, NODE_POOL, LOGTO, LOGTO_NEWEST, AIOSMTPLIB)),
        Footprint((OURS, OURS_TWO, NODE_POOL, LOGTO), rounds),
        Growth(rounds, 2000),
        Throughput("store", (OURS, OURS_KEPT), (1, 64), rounds, 1.5),
        Enqueue(engines, (1, 16, 64, 256), rounds, 1.5),
        Drain(engines, 5000, rounds),
        Lateness(engines, 300),
        Recovery(engines, 100_000, rounds),
        Stages(0.5),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; writes no results")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each party has its turn (5; quick: 3)")
    parser.add_argument(
        "--scene", action="append", metavar="NAME", help="only this one, repeatable; the others' results stay"
    )
    chosen = parser.parse_args(arguments)
    rounds = chosen.rounds or (3 if chosen.quick else 5)
    scenes = [
        scene for scene in _scenes(quick=chosen.quick, rounds=rounds) if not chosen.scene or scene.name in chosen.scene
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that every context ends, and with it its processes
    console = Console(width=None if sys.stdout.isatty() else 110)
    results = Results(quick=chosen.quick, rounds=rounds)
    _play(scenes, results, console)
    for table in grids(results, _titles()):
        console.print(table.as_rich())
    if not chosen.quick:
        if chosen.scene:
            results.complete(_RESULTS / "latest.json")
        _write(results)
    return 0


def _write(results: Results) -> None:
    titles = _titles()
    results.write(_RESULTS / "latest.json")
    tables = "\n".join(table.as_markdown() for table in grids(results, titles))
    (_RESULTS / "latest.md").write_text(tables, encoding="utf-8")
    caption = "Mails a second, 64 in flight (whiskers: all rounds)"
    (_RESULTS / "throughput.svg").write_text(plot.bars(results, "throughput", 64, titles, caption))
    axes = ("connections", "templates", "profiles", "KiB of payload")
    caption = "Processor time of one mail, µs, as things grow"
    (_RESULTS / "growth.svg").write_text(plot.lines(results, axes, "µs of processor a mail", caption))
    ways = tuple(dict.fromkeys(series.scene for series in results.of_unit("accepted/s")))
    caption = "Messages accepted a second (ENQUEUE), by calls in flight"
    (_RESULTS / "enqueue.svg").write_text(plot.lines(results, ways, "accepted/s", caption))


def _titles() -> dict[str, str]:
    services = (OURS, OURS_TWO, OURS_FLIGHT, OURS_KEPT, ECHO, BARE, NODE_POOL, LOGTO, LOGTO_NEWEST, AIOSMTPLIB)
    return {party.name: party.title for party in (*services, smtp_source())}


def _play(scenes: Sequence[Scene], results: Results, console: Console) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with (
        TemporaryDirectory(prefix="smtpconnector-bench-") as folder,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        Path(folder).chmod(0o755)  # smtp-sink runs as nobody
        task = progress.add_task("", total=sum(map(len, scenes)))
        for scene in scenes:
            for step in scene.play(results, Path(folder)):
                progress.update(task, description=f"{scene.name}: {step}", advance=1)
                if not console.is_terminal:
                    console.print(f"{scene.name}: {step}", highlight=False)


sys.exit(main())
