"""Which adapters run: the log always, metrics where somebody reads them, traces where the environment asks for them.

What does not run is not imported and costs nothing.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from smtpconnector_server.config.origin import Origin
from smtpconnector_server.telemetry.event_log import EventLog
from smtpconnector_server.telemetry.hook import tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from smtpconnector_server.delivery.sender import Sender
    from smtpconnector_server.settings import Settings
    from smtpconnector_server.smtp.pool import SessionPool
    from smtpconnector_server.telemetry.hook import Hook
    from smtpconnector_server.telemetry.metrics import Metrics
    from smtpconnector_server.telemetry.tracing import Tracing

_log = structlog.get_logger()


class Telemetry:
    """The adapters of a server.

    Args:
        settings: The server's.
        profiles: The names of its profiles.
        is_worker: Whether its metrics are served by the supervisor.
    """

    def __init__(self, settings: Settings, profiles: Iterable[str], *, is_worker: bool) -> None:
        key = settings.log_hash_key
        self._log = EventLog(key.get_secret_value().encode() if key is not None else None)
        self._metrics = _metrics(profiles, is_worker=is_worker) if settings.metrics_listen is not None else None
        self._page_listen = None if is_worker else settings.metrics_listen
        self._tracing = _tracing(os.environ)

    def hook(self, origin: Origin = Origin.PROFILE) -> Hook:
        """Return what a room is to tell its events.

        Args:
            origin: Whose servers they are about, for the rooms that keep them apart.
        """
        counted = [self._metrics.listeners(origin)] if self._metrics is not None else []
        traced = [self._tracing.listeners] if self._tracing is not None else []
        return tell(*traced, self._log.listeners, *counted)

    @asynccontextmanager
    async def running(self, pools: Mapping[Origin, SessionPool], sender: Sender) -> AsyncIterator[str | None]:
        """Serve the metrics and look at the pools inside the context.

        Yields:
            The address of the metrics, with the real port; None where this process serves none.

        Raises:
            OSError: It cannot be bound.
        """
        async with AsyncExitStack() as stack:
            if self._tracing is not None:
                stack.push_async_callback(self._tracing.aclose)
            yield self._serve(self._metrics, pools, sender, stack) if self._metrics is not None else None

    def _serve(
        self, metrics: Metrics, pools: Mapping[Origin, SessionPool], sender: Sender, stack: AsyncExitStack
    ) -> str | None:
        from prometheus_client import ProcessCollector  # noqa: PLC0415 - only where metrics are on

        from smtpconnector_server.telemetry import samples  # noqa: PLC0415
        from smtpconnector_server.telemetry.page import MetricsPage  # noqa: PLC0415

        address = None
        if self._page_listen is not None:
            ProcessCollector(registry=metrics.registry)
            page = MetricsPage(self._page_listen, metrics.registry)
            stack.callback(page.close)
            address = page.address
        sampling = asyncio.create_task(samples.follow(metrics, pools, sender), name="metrics-samples")
        stack.callback(sampling.cancel)
        return address


def _metrics(profiles: Iterable[str], *, is_worker: bool) -> Metrics:
    from smtpconnector_server.telemetry.metrics import Metrics  # noqa: PLC0415 - only where metrics are on

    if is_worker:
        from smtpconnector_server.telemetry.shared import share_metrics  # noqa: PLC0415

        share_metrics()
    return Metrics(profiles)


def asked_for_traces(environment: Mapping[str, str]) -> list[str]:
    """Return the exporters that the environment asks for by OpenTelemetry's variables, as packages name them."""
    names = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    is_off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or names.lower() == "none"
    if is_off or not (names or endpoint):
        return []
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    otlp = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    return [otlp if name.strip() == "otlp" else name.strip() for name in (names or "otlp").split(",")]


def _tracing(environment: Mapping[str, str]) -> Tracing | None:
    exporters = asked_for_traces(environment)
    if not exporters:
        return None
    try:
        from smtpconnector_server.telemetry.tracing import tracing_to  # noqa: PLC0415 - the packages are an extra

        return tracing_to(exporters)
    except (ImportError, LookupError) as error:
        _log.warning("tracing_unavailable", error=str(error), hint="install smtpconnector-server[otel]")
        return None
