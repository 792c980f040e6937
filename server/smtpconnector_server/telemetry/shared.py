"""The metrics of several workers as one page: they write them to files, and the supervisor adds them up when asked.

Files go by the worker's number and not by its process, so that a worker that replaces a dead one counts on from where
that was, and no total ever falls. What is true of a moment dies with the worker.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from smtpconnector_server.telemetry.families import NAMESPACE
from smtpconnector_server.telemetry.page import MetricsPage

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_NUMBER_VARIABLE: Final = "SMTPCONNECTOR_WORKER_NUMBER"


class SharedMetrics:
    """The supervisor's end.

    Args:
        listen: Where to serve the page, HOST:PORT.

    Raises:
        OSError: The address cannot be bound, or there is no folder for temporary files.
    """

    def __init__(self, listen: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="smtpconnector-metrics-")
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]
        self._deaths = deaths_counter(registry)
        try:
            self._page = MetricsPage(listen, registry)
        except OSError:
            shutil.rmtree(self._folder)
            raise

    def environment(self, number: int) -> Mapping[str, str]:
        """Return what a worker's environment must have, by its number."""
        return {_FOLDER_VARIABLE: self._folder, _NUMBER_VARIABLE: str(number)}

    def note_death(self, number: int) -> None:
        """Take note that a worker died."""
        mark_process_dead(number, self._folder)  # type: ignore[no-untyped-call]
        self._deaths.inc()

    def close(self) -> None:
        """Serve no more, and forget."""
        self._page.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def deaths_counter(registry: CollectorRegistry) -> Counter:
    """Return what counts the workers that died: the one metric of the supervisor's own."""
    return Counter("worker_deaths", "Workers that died and were replaced.", namespace=NAMESPACE, registry=registry)


def share_metrics() -> None:
    """In a worker whose supervisor serves the metrics: write those made from now on to its files."""
    number = os.environ.get(_NUMBER_VARIABLE)
    if number is not None:
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
