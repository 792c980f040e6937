"""What was measured: figures by scene, party and round, as one JSON document."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_LIBRARIES = ("grpcio", "protobuf", "uvloop", "aiosmtplib")


@dataclass(slots=True)
class Series:
    """One figure of one party in one scene, once for each round."""

    scene: str
    party: str
    unit: str
    at: float = 0.0
    """Where on the scene's axis: calls in flight, connections, octets."""
    values: list[float] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one party compares with another, round by round."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(slots=True)
class Results:
    """All figures of one run."""

    quick: bool
    rounds: int
    series: list[Series] = field(default_factory=list)

    def add(self, scene: str, party: str, unit: str, value: float, at: float = 0.0) -> None:
        """Take a figure of one round."""
        series = self.find(scene, party, unit, at)
        if series is None:
            series = Series(scene, party, unit, at)
            self.series.append(series)
        series.values.append(value)

    def find(self, scene: str, party: str, unit: str, at: float = 0.0) -> Series | None:
        """Return a figure, if it was measured."""
        for series in self.series:
            if (series.scene, series.party, series.unit, series.at) == (scene, party, unit, at):
                return series
        return None

    def of(self, scene: str, unit: str = "") -> list[Series]:
        """Return all figures of a scene, with this unit if one is given."""
        return [series for series in self.series if series.scene == scene and unit in {"", series.unit}]

    def of_unit(self, unit: str) -> list[Series]:
        """Return all figures with a unit."""
        return [series for series in self.series if series.unit == unit]

    def ratio(self, scene: str, party: str, other: str, unit: str, at: float = 0.0) -> Ratio | None:
        """Return how many times another party's figure a party has, if both were measured."""
        ones, others = self.find(scene, party, unit, at), self.find(scene, other, unit, at)
        if ones is None or others is None:
            return None
        ratios = [one / two for one, two in zip(ones.values, others.values, strict=False)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))

    def complete(self, file: Path) -> None:
        """Add the figures of a file for all that was not measured now."""
        for written in json.loads(file.read_text(encoding="utf-8"))["series"]:
            series = Series(**written)
            if self.find(series.scene, series.party, series.unit, series.at) is None:
                self.series.append(series)

    def write(self, file: Path) -> None:
        """Write them as JSON."""
        document: dict[str, Any] = {
            "machine": {
                "processors": os.cpu_count(),
                "waiting for them": round(os.getloadavg()[1], 1),
                "kernel": platform.release(),
                "python": platform.python_version(),
                **{name: version(name) for name in _LIBRARIES},
            },
            **asdict(self),
        }
        for series in document["series"]:
            series["values"] = [float(f"{value:.5g}") for value in series["values"]]
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
