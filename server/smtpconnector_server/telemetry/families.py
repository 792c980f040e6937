"""Families of metrics, each with its children resolved once, because finding them costs more than counting."""

from __future__ import annotations

from typing import Final, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

NAMESPACE: Final = "smtpconnector"

# Else a time of creation stands beside each counter, which doubles their number.
disable_created_metrics()  # type: ignore[no-untyped-call]

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class Children(dict[tuple[str, ...], _Metric], Generic[_Metric]):
    """The children of a metric by the values of its labels, each resolved once; without labels, itself by ()."""

    def __init__(self, family: _Metric) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, values: tuple[str, ...]) -> _Metric:
        child = self[values] = self._family.labels(*values) if values else self._family
        return child


class Families:
    """The families of a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def counter(self, name: str, what: str, *labels: str) -> Children[Counter]:
        """Make a family of counters."""
        return Children(Counter(name, what, labels, namespace=NAMESPACE, registry=self.registry))

    def histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Children[Histogram]:
        """Make a family of histograms."""
        return Children(Histogram(name, what, labels, namespace=NAMESPACE, registry=self.registry, buckets=buckets))

    def gauge(
        self, name: str, what: str, *labels: str, mode: Literal["livesum", "livemax", "livemostrecent"] = "livesum"
    ) -> Children[Gauge]:
        """Make a family of gauges.

        Args:
            name: Its name, without the namespace.
            what: What it means.
            labels: Their names.
            mode: What several workers come to together.
        """
        return Children(Gauge(name, what, labels, namespace=NAMESPACE, registry=self.registry, multiprocess_mode=mode))
