"""A reader of metrics pages, as Prometheus is one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable

Samples: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]


class MetricsReader:
    """Reads the page of an address, HOST:PORT."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/metrics"

    async def text(self) -> str:
        """Return the page."""

        def read() -> str:
            with urlopen(self._url, timeout=10) as response:  # noqa: S310 - an address of the test's own
                content: bytes = response.read()
                return content.decode()

        return await asyncio.to_thread(read)

    async def samples(self) -> Samples:
        """Return the values on the page, by name and labels."""
        families = text_string_to_metric_families(await self.text())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float | None:
        """Return one value; the name comes without the namespace."""
        return (await self.samples()).get((f"smtpconnector_{name}", frozenset(labels.items())))

    async def value_that(self, holds: Callable[[float | None], bool], name: str, **labels: str) -> float | None:
        """Return a value as soon as something holds for it: what is looked at once a second is not there at once."""
        async with asyncio.timeout(10):
            while not holds(value := await self.value(name, **labels)):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        return value
