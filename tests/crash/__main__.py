"""`make test-crash`: kill the service again and again under load, and hold every ledger against every promise."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from crash import campaign, report
from crash.campaign import Course, Plan
from crash.chaos import HARMS
from crash.engines import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNS = Path(__file__).parents[2] / "build" / "crash"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a campaign; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="make test-crash ARGS=…", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="sqlite", help="where messages are kept (sqlite)")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="how many times SIGKILL comes (100)")
    parser.add_argument("--seconds", type=float, metavar="S", help="after which there is no more harm (no limit)")
    parser.add_argument("--servers", type=int, metavar="N", help="of one store (sqlite: 1, postgres: 2)")
    parser.add_argument("--rate", type=float, default=25.0, metavar="N", help="requests a second (25)")
    parser.add_argument(
        "--faults", type=float, default=0.03, metavar="P", help="of the SMTP server, at each step (.03)"
    )
    parser.add_argument("--longest", type=float, default=40.0, metavar="S", help="expire_time, at most ahead (40)")
    parser.add_argument("--seed", default=str(time.time_ns() % 10**9), help="of all chance (any)")
    parser.add_argument("--clock", action="store_true", help="let the servers' clock jump; expire_time is not judged")
    parser.add_argument("--keep", action="store_true", help="keep ledgers and logs when nothing was broken, too")
    parser.add_argument("--only", action="append", default=[], choices=HARMS, metavar="HARM", help="; ".join(HARMS))
    chosen = parser.parse_args(arguments)
    plan = Plan(
        engine=chosen.engine,
        kills=chosen.kills,
        seconds=chosen.seconds or float("inf"),
        servers=chosen.servers or (2 if chosen.engine == "postgres" else 1),
        rate=chosen.rate,
        fault_rate=chosen.faults,
        longest=chosen.longest,
        seed=chosen.seed,
        clock_jumps=chosen.clock,
        only=tuple(chosen.only),
    )
    folder = _RUNS / f"{plan.engine}-{plan.seed}"
    folder.mkdir(parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that every context ends, and with it its processes
    console = Console(width=None if sys.stdout.isatty() else 120)
    course = asyncio.run(_play(plan, folder, console))
    report.show(console, plan, course)
    if course.breaches or chosen.keep:
        console.print(f"Ledgers and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if course.breaches else 0


async def _play(plan: Plan, folder: Path, console: Console) -> Course:
    course = Course()
    playing = asyncio.create_task(campaign.run(plan, folder, course))
    pause = 0.5 if console.is_terminal else 30.0
    with console.status("") as status:
        while not playing.done():
            status.update(report.progress(plan, course))
            await asyncio.wait({playing}, timeout=pause)
            if not console.is_terminal:
                console.print(report.progress(plan, course), highlight=False)
    await playing
    return course


if __name__ == "__main__":
    sys.exit(main())
