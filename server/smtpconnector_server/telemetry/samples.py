"""Looks once a second at what is counted at a moment, so that no mail has to pay for it, nor the reader of the page."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from smtpconnector_server.smtp.pool_counts import PoolCounts
from smtpconnector_server.telemetry.metrics import server_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpconnector_server.config.origin import Origin
    from smtpconnector_server.delivery.sender import Sender
    from smtpconnector_server.smtp.pool import SessionPool
    from smtpconnector_server.telemetry.metrics import Metrics

_SECONDS: Final = 1.0


async def follow(metrics: Metrics, pools: Mapping[Origin, SessionPool], sender: Sender) -> None:
    """Take samples for ever.

    Args:
        metrics: What takes them.
        pools: By whose servers they lead to.
        sender: Whose mails are on their way.
    """
    loop = asyncio.get_running_loop()
    lag = 0.0
    while True:
        metrics.take(pool_counts(pools), under_way=sender.under_way, lag_seconds=lag)
        due = loop.time() + _SECONDS
        await asyncio.sleep(_SECONDS)
        lag = max(0.0, loop.time() - due)


def pool_counts(pools: Mapping[Origin, SessionPool]) -> dict[str, PoolCounts]:
    """Count the sessions of pools by server, as metrics call it."""
    counts: defaultdict[str, PoolCounts] = defaultdict(PoolCounts)
    for origin, pool in pools.items():
        for server, count in pool.counts():
            counts[server_label(origin, server.host, server.port)] += count
    return counts
