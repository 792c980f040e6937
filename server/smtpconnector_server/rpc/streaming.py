"""Methods that answer with a stream, as methods that answer once; and their end when the server stops.

A watch may last for hours, a server that drains has seconds: it ends its streams first, so that their callers go on at
another server while the calls that send mails come to their end.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from smtpconnector_server.failure import Failure, Reason, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    import grpc

    Context = grpc.aio.ServicerContext[Any, Any]


class Streams:
    """The streams that are being answered."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()
        self._is_ending = False

    def end(self) -> None:
        """End them all with SHUTTING_DOWN, and those that come."""
        self._is_ending = True
        now = asyncio.get_running_loop().time()
        for timeout in self._running:
            timeout.reschedule(now)

    def handler(
        self, behaviour: Callable[[Any, Context], AsyncGenerator[Any, None]]
    ) -> Callable[[Any, Context], Coroutine[Any, Any, None]]:
        """Return what answers a call by writing each response of a behaviour."""

        async def answer(request: Any, context: Context) -> None:  # noqa: ANN401 - any message
            if self._is_ending:
                raise _stopping()
            timeout = asyncio.timeout(None)
            try:
                async with timeout, aclosing(behaviour(request, context)) as responses:
                    self._running.add(timeout)
                    async for response in responses:
                        await context.write(response)
            except TimeoutError:
                if not timeout.expired():
                    raise
                raise _stopping() from None
            finally:
                self._running.discard(timeout)

        return answer


def _stopping() -> Failure:
    return Failure(
        Reason.SHUTTING_DOWN, "The server is about to stop. Watch again with the last cursor.", stage=Stage.REQUEST
    )
