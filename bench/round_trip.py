"""How often a mail has to wait for the network: round trips counted on the wire, with 50 ms for each."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.party import profile, submission_profile
from harness.proxy import Proxy, Toxics
from harness.servers.postfix import running_postfix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.party import Party
    from bench.result import Results

ROUND_TRIP_SECONDS = 0.05
_WARM_MAILS = 8


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """The first mail of a service, and those that follow it, in the clear and with STARTTLS and AUTH."""

    parties: Sequence[Party]
    name: str = "round trips"

    def __len__(self) -> int:
        return 2 * len(self.parties)

    def play(self, results: Results, folder: Path) -> Iterator[str]:
        """Measure."""
        with running_postfix() as postfix:
            for access, port, make in (
                ("clear", postfix.clear_port, profile),
                ("starttls", postfix.starttls_port, submission_profile),
            ):
                for party in self.parties:
                    yield f"{access}: {party.title}"
                    with _far_away(port) as proxy, party.at_work(make(proxy.port), folder) as sending:
                        for kind, count in (("cold", 1), ("warm", _WARM_MAILS)):
                            before = _round_trips(proxy)
                            run = sending.send(count, 1)
                            trips = (_round_trips(proxy) - before) / count
                            results.add(f"{kind}, {access}", party.name, "round trips", trips)
                            results.add(f"{kind}, {access}", party.name, "ms", run.median)


def _round_trips(proxy: Proxy) -> int:
    """Return the round trips so far; that of TCP itself, which the proxy does not see, is added."""
    return sum(link.round_trips + 1 for link in proxy.links)


@contextmanager
def _far_away(port: int) -> Iterator[Proxy]:
    """Put 50 ms between a server and its clients; in a thread, for the load blocks its own."""
    proxy = Proxy(port, downstream=Toxics(latency=ROUND_TRIP_SECONDS))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
