"""The results as tables for a terminal and as Markdown for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from bench.party import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.result import Results, Series

_RATE = "mails/s"


class Grid:
    """A table: rows of text under headings."""

    def __init__(self, title: str, headings: Sequence[str]) -> None:
        self.title = title
        self.headings = headings
        self.rows: list[Sequence[str]] = []

    def as_rich(self) -> Table:
        """Return it for a terminal."""
        table = Table(title=self.title, title_justify="left")
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*row)
        return table

    def as_markdown(self) -> str:
        """Return it as Markdown."""
        head = f"| {' | '.join(self.headings)} |\n|{'---|' * len(self.headings)}\n"
        return f"**{self.title}**\n\n{head}" + "".join(f"| {' | '.join(row)} |\n" for row in self.rows)


def grids(results: Results, titles: Mapping[str, str]) -> Iterator[Grid]:
    """Return all tables.

    Args:
        results: What was measured.
        titles: Of the parties, by name.
    """
    for scene, title in (("throughput", "text mails"), ("html", "HTML mails of 60 values")):
        for at in sorted({series.at for series in results.of(scene, _RATE)}):
            yield _throughput(results, scene, f"{title}, {at:.0f} in flight", at, titles)
    yield from _if_any(_burst(results, titles))
    yield from _if_any(_round_trips(results, titles))
    yield from _if_any(_footprint(results, titles))
    for axis in ("connections", "templates", "profiles", "KiB of payload"):
        yield from _if_any(_growth(results, axis))
    yield from store_grids(results, titles)
    yield from _if_any(_stages(results))


def store_grids(results: Results, titles: Mapping[str, str]) -> Iterator[Grid]:
    """Return the tables of the store."""
    for at in sorted({series.at for series in results.of("store", _RATE)}):
        yield _throughput(results, "store", f"WAIT without request_id, {at:.0f} in flight", at, titles)
    yield from _if_any(_enqueue(results))
    yield from _if_any(_by_engine(results, "a backlog found at the start", ("drain",)))
    asked = [series.scene for series in results.of_unit("ms p50") if series.scene.startswith(("answer, ", "mail, "))]
    yield from _if_any(_by_engine(results, "one mail on an idle system", tuple(dict.fromkeys(asked))))
    found = [series.scene for series in results.of_unit("s to serving")]
    yield from _if_any(_by_engine(results, "recovery: 100,000 messages in the store", tuple(dict.fromkeys(found))))


def _if_any(grid: Grid) -> Iterator[Grid]:
    if grid.rows:
        yield grid


def _throughput(results: Results, scene: str, title: str, at: float, titles: Mapping[str, str]) -> Grid:
    grid = Grid(title, ("party", _RATE, "ours is … times as fast", "p50 ms", "p99 ms"))
    for series in _fastest_first(results, scene, at):
        ratio = results.ratio(scene, OURS.name, series.party, _RATE, at)
        latencies = [results.find(scene, series.party, unit, at) for unit in ("ms p50", "ms p99")]
        grid.rows.append(
            (
                titles[series.party],
                f"{series.middle:,.0f}",
                "" if ratio is None or series.party == OURS.name else str(ratio),
                *(f"{latency.middle:.1f}" if latency else "" for latency in latencies),
            )
        )
    return grid


def _fastest_first(results: Results, scene: str, at: float) -> list[Series]:
    here = [series for series in results.of(scene, _RATE) if series.at == at]
    return sorted(here, key=lambda series: -series.middle)


def _burst(results: Results, titles: Mapping[str, str]) -> Grid:
    grid = Grid("1,000 mails at once, just started", ("party", "seconds", "takes … times as long as ours"))
    for series in sorted(results.of("burst"), key=lambda series: series.middle):
        ratio = results.ratio("burst", series.party, OURS.name, "seconds")
        grid.rows.append((titles[series.party], f"{series.middle:.2f}", str(ratio)))
    return grid


def _round_trips(results: Results, titles: Mapping[str, str]) -> Grid:
    columns = [f"{kind}, {access}" for access in ("clear", "starttls") for kind in ("warm", "cold")]
    grid = Grid("round trips a mail (time with 50 ms each)", ("party", *columns))
    for party in dict.fromkeys(series.party for series in results.of(columns[0])):
        found = [(results.find(name, party, "round trips"), results.find(name, party, "ms")) for name in columns]
        grid.rows.append(
            (
                titles[party],
                *(f"{trips.middle:.1f} ({ms.middle:.0f} ms)" if trips and ms else "" for trips, ms in found),
            )
        )
    return grid


def _footprint(results: Results, titles: Mapping[str, str]) -> Grid:
    columns = {"start to serving": "seconds", "memory, idle": "MB", "memory, 1000 in flight": "MB"}
    grid = Grid("footprint", ("party", *(f"{name}, {unit}" for name, unit in columns.items())))
    for party in dict.fromkeys(series.party for series in results.of("start to serving")):
        found = [results.find(name, party, unit) for name, unit in columns.items()]
        grid.rows.append((titles[party], *(f"{series.middle:.3g}" if series else "" for series in found)))
    return grid


def _growth(results: Results, axis: str) -> Grid:
    units = list(dict.fromkeys(series.unit for series in results.of(axis)))
    grid = Grid(f"growth with {axis}", (axis, *units))
    for at in sorted({series.at for series in results.of(axis)}):
        found = [results.find(axis, OURS.name, unit, at) for unit in units]
        grid.rows.append((f"{at:,.0f}", *(f"{series.middle:,.4g}" if series else "" for series in found)))
    return grid


def _stages(results: Results) -> Grid:
    grid = Grid("stages, each alone and at its least", ("stage", "µs"))
    for series in results.series:
        if series.unit == "µs":
            grid.rows.append((series.scene, f"{min(series.values):.1f}"))
    return grid


def _enqueue(results: Results) -> Grid:
    grid = Grid("ENQUEUE", ("", "in flight", "accepted/s", "p50 ms", "p99 ms"))
    for series in results.of_unit("accepted/s"):
        latencies = [results.find(series.scene, series.party, unit, series.at) for unit in ("ms p50", "ms p99")]
        grid.rows.append(
            (
                series.scene,
                f"{series.at:.0f}",
                f"{series.middle:,.0f}",
                *(f"{latency.middle:.1f}" if latency else "" for latency in latencies),
            )
        )
    return grid


def _by_engine(results: Results, title: str, scenes: Sequence[str]) -> Grid:
    """Return all figures of scenes whose parties are engines, a row for each scene and engine."""
    units = list(dict.fromkeys(series.unit for scene in scenes for series in results.of(scene)))
    grid = Grid(title, ("", "engine", *units))
    for scene in scenes:
        for engine in dict.fromkeys(series.party for series in results.of(scene)):
            found = [results.find(scene, engine, unit) for unit in units]
            grid.rows.append((scene, engine, *(f"{series.middle:,.3g}" if series else "" for series in found)))
    return grid
