"""A campaign: load, harm, drain, and the ledgers joined.

While the load runs, each server is hurt again and again and started again when it is gone. Then all becomes well, every
client gets its answer, the queue empties, some ask once more; and what the store says is read out.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from crash import chaos, clock, tracer
from crash.chaos import HARMS, KILLS, Scene
from crash.clock import Clock
from crash.engines import Engine, open_engine
from crash.far_end import far_end
from crash.ledger import History, Kept, Ledger, join, read
from crash.load import Load
from crash.servers import Server
from crash.verdict import Bounds, Breach, judge
from harness.documents import USAGE_TYPES, document_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from crash.far_end import FarEnd

_ANSWER_SECONDS = 120.0
"""In the end, for every client to get its answer."""
_DRAIN_SECONDS = 180.0
"""In the end, for the queue to become empty."""
_BETWEEN_STORE_HARMS = 12.0
_MOST_FAILED_STARTS = 20
_TELLTALE = re.compile(r"Traceback|never retrieved|never awaited|Exception ignored|database disk image is malformed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a campaign is like."""

    engine: str
    kills: int
    """How many times SIGKILL comes, at least."""
    seconds: float = math.inf
    """After which there is no more harm."""
    servers: int = 1
    rate: float = 25.0
    """Requests a second."""
    fault_rate: float = 0.03
    """How often the SMTP server goes wrong, for each state that a mail comes to."""
    longest: float = 40.0
    """Seconds that the most patient message lives: the campaign ends no sooner."""
    seed: str = "0"
    clock_jumps: bool = False
    only: tuple[str, ...] = ()
    """The harms. Empty: all that this machine and the engine allow."""


@dataclass(slots=True)
class Course:
    """How a campaign goes."""

    kills: int = 0
    harms: Counter[str] = field(default_factory=Counter)
    starts: list[float] = field(default_factory=list)
    """Seconds that each start took."""
    failed_starts: int = 0
    seconds: float = 0.0
    histories: list[History] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    oddities: Counter[str] = field(default_factory=Counter)
    """What the servers' logs hold that should not be there."""
    load: Load | None = None
    phase: str = "starts"


async def run(plan: Plan, folder: Path, course: Course) -> None:
    """Play a campaign; ``course`` tells how it goes meanwhile, and how it ended."""
    began = time.monotonic()
    random = Random(plan.seed)  # noqa: S311 - chance, not a secret
    async with _scenery(plan, folder, random) as (engine, end, servers, moved):
        with Ledger(folder / "client.ledger") as ledger:
            load = course.load = Load(
                [server.address for server in servers], ledger, random, has_store=engine.exists, longest=plan.longest
            )
            try:
                await asyncio.gather(*(server.start() for server in servers))
                course.phase = "hurts"
                await _hurt(plan, course, Scene(random, load, end, moved), servers, engine, load)
                course.phase = "drains"
                if moved:
                    moved.move(0.0)
                await end.calm()
                await load.stop(within=_ANSWER_SECONDS)
                await _drain(load, engine)
                course.phase = "asks"
                await load.repeat(0.2 if engine.exists else 0.0)
                kept = await load.kept() if engine.exists else []
            finally:
                await load.close()
    _judge(plan, folder, course, kept)
    course.oddities = _oddities(servers)
    course.seconds = time.monotonic() - began
    course.phase = "over"


@asynccontextmanager
async def _scenery(
    plan: Plan, folder: Path, random: Random
) -> AsyncIterator[tuple[Engine, FarEnd, list[Server], Clock | None]]:
    library = clock.library()
    if plan.clock_jumps and library is None:
        raise RuntimeError("libfaketime is not installed: run scripts/install-test-servers as root")
    moved = Clock(folder / "clock", library) if plan.clock_jumps and library else None
    async with AsyncExitStack() as stack:
        end = await stack.enter_async_context(
            far_end(folder / "sink.ledger", seed=plan.seed, fault_rate=plan.fault_rate)
        )
        engine = await stack.enter_async_context(open_engine(plan.engine, folder, random))
        servers = []
        for number in range(plan.servers):
            name = f"server-{number}.example.com"
            file = folder / f"{name}.json"
            file.write_text(json.dumps(_document(end, name)), encoding="utf-8")
            flags = ("--profile", f"default={file}", *engine.flags)
            server = Server(name, flags, folder, moved.variables if moved else {})
            servers.append(server)
            stack.push_async_callback(_put_down, server)
        yield engine, end, servers, moved


def _document(end: FarEnd, name: str) -> dict[str, Any]:
    template = {"contentType": "text/plain", "subject": "{{code}}", "content": "{{code}}\n{{pad}}"}
    templates = [{"usageType": usage_type, **template} for usage_type in USAGE_TYPES]
    return document_for(end, name=name, socketTimeout=3000, templates=templates)


async def _put_down(server: Server) -> None:
    if server.is_up:
        await server.kill()


async def _hurt(plan: Plan, course: Course, scene: Scene, servers: list[Server], engine: Engine, load: Load) -> None:
    ends = time.monotonic() + plan.seconds

    def is_over() -> bool:
        return course.kills >= plan.kills or time.monotonic() > ends

    names = plan.only or tuple(name for name in HARMS if _is_possible(name, plan))
    loading = asyncio.create_task(load.run(plan.rate))
    try:
        async with asyncio.TaskGroup() as harms:
            for server in servers:
                harms.create_task(_torment(course, scene, server, names, is_over))
            if engine.harms:
                harms.create_task(_torment_store(course, scene, engine, is_over))
            harms.create_task(_watch(loading, is_over))
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


def _is_possible(name: str, plan: Plan) -> bool:
    return (
        (name not in chaos.NEED_TRACER or not tracer.absence())
        and (name not in chaos.NEED_FILE or plan.engine == "sqlite")
        and (name not in chaos.NEED_CLOCK or plan.clock_jumps)
    )


async def _torment(
    course: Course, scene: Scene, server: Server, names: tuple[str, ...], is_over: Callable[[], bool]
) -> None:
    weights = [HARMS[name][1] for name in names]
    while not is_over():
        await _up(course, server)
        (name,) = scene.random.choices(names, weights)
        await HARMS[name][0](scene, server)
        course.harms[name] += 1
        course.kills += KILLS.get(name, 0)
    await _up(course, server)


async def _up(course: Course, server: Server) -> None:
    """Start a server unless it runs; while its store is away it may fail to."""
    failed = 0
    while not server.is_up:
        try:
            course.starts.append(await server.start())
        except RuntimeError:
            course.failed_starts += 1
            failed += 1
            if failed >= _MOST_FAILED_STARTS:
                raise
            await asyncio.sleep(0.3)


async def _torment_store(course: Course, scene: Scene, engine: Engine, is_over: Callable[[], bool]) -> None:
    while not is_over():
        await asyncio.sleep(min(scene.random.expovariate(1 / _BETWEEN_STORE_HARMS), 4 * _BETWEEN_STORE_HARMS))
        name = scene.random.choice(list(engine.harms))
        await engine.harms[name]()
        course.harms[name] += 1


async def _watch(loading: asyncio.Task[None], is_over: Callable[[], bool]) -> None:
    """End everything if the load breaks: a campaign without load proves nothing."""
    while not is_over():
        if loading.done():
            loading.result()
        await asyncio.sleep(0.2)


def _judge(plan: Plan, folder: Path, course: Course, kept: list[Kept]) -> None:
    store = [json.dumps(asdict(item)) for item in kept]
    (folder / "store.ledger").write_text("\n".join(store), encoding="utf-8")
    client, sink = list(read(folder / "client.ledger")), list(read(folder / "sink.ledger"))
    course.histories, strangers = join(client, sink, kept)
    has_frozen = course.harms["freeze"] + course.harms["network silent"] > 0
    bounds = Bounds()
    bounds = Bounds(
        late_seconds=math.inf if plan.clock_jumps else bounds.late_seconds,
        store_fails=any(course.harms[name] for name in chaos.FAIL_STORE),
        linger_seconds=bounds.linger_seconds + chaos.FREEZE_SECONDS * has_frozen,
    )
    course.breaches = judge(course.histories, strangers, bounds)


async def _drain(load: Load, engine: Engine) -> None:
    give_up = time.monotonic() + _DRAIN_SECONDS
    while engine.exists and await load.open_deliveries() and time.monotonic() < give_up:  # noqa: ASYNC110 - it is far
        await asyncio.sleep(0.2)


def _oddities(servers: list[Server]) -> Counter[str]:
    found: Counter[str] = Counter()
    for server in servers:
        for line in server.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    entry = json.loads(line)
                except ValueError:  # torn by a kill
                    continue
                if entry.get("level") in {"error", "critical"}:
                    found[f"{entry.get('event')} {entry.get('error_type', '')}".strip()] += 1
            elif telltale := _TELLTALE.search(line):
                found[telltale[0]] += 1
    return found
