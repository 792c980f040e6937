"""How fast mails may follow each other to one server: never more than so many in any stretch of so many seconds.

Exact where a bucket that refills is not: what a provider allows in an hour may not go twice within one. First come,
first served; whoever gives up leaves its turn to the next.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Lets mails go.

    Args:
        count: How many in each stretch of time. 0: any number.
        seconds: The length of the stretch.
        clock: Seconds, monotonic.

    Attributes:
        waiting: How many wait for their turn.
    """

    def __init__(self, count: int, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting = 0
        self._count = count
        self._seconds = seconds
        self._clock = clock
        self._gone: deque[float] = deque(maxlen=count)
        """When the last ones went, as many as may go in a stretch."""
        self._turn = asyncio.Lock()
        self._closed = asyncio.Event()

    async def wait(self) -> None:
        """Wait until one more may go, and count it."""
        if not self._count:
            return
        self.waiting += 1
        try:
            async with self._turn:
                while (wait := self._seconds_left()) > 0 and not self._closed.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._closed.wait()
                self._gone.append(self._clock())
        finally:
            self.waiting -= 1

    def give_back(self) -> None:
        """Take note that one that was let go has not gone after all."""
        if self._gone:
            self._gone.pop()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed.set()

    def _seconds_left(self) -> float:
        if len(self._gone) < self._count:
            return 0.0
        return self._gone[0] + self._seconds - self._clock()
