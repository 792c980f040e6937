"""The composition root: settings in, running server out. The only module that knows every room."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from smtpconnector_server.delivery.sender import Sender
from smtpconnector_server.rpc.configurations import Configurations
from smtpconnector_server.rpc.metadata import to_metadata_response
from smtpconnector_server.rpc.server import RpcServer
from smtpconnector_server.rpc.servicer import ConnectorServicer
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from smtpconnector_server.config.profile import Profile
    from smtpconnector_server.settings import Settings

_POOL_CLOSE_SECONDS: Final = 2.0

_log = structlog.get_logger()


@asynccontextmanager
async def running_server(settings: Settings, profiles: dict[str, Profile]) -> AsyncIterator[RpcServer]:
    """Serve inside the context; drain on leaving it.

    Raises:
        BindError: The address cannot be bound.
    """
    pool = SessionPool(dialer=Dialer())
    sender = Sender(pool, on_late_end=lambda host, outcome: _log.warning("late_reply", host=host, outcome=outcome))
    server = RpcServer(
        ConnectorServicer(Configurations(profiles), sender, to_metadata_response()), settings.listen
    )
    await server.start()
    try:
        yield server
    finally:
        await server.drain(settings.grace)
        with suppress(TimeoutError):
            await asyncio.wait_for(sender.drain(), settings.grace)
        await pool.close(_POOL_CLOSE_SECONDS)


async def serve(settings: Settings, profiles: dict[str, Profile], *, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once.

    Args:
        settings: The server's settings.
        profiles: The configurations that callers can name.
        on_ready: Told the real address once calls are answered.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            sys.exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with running_server(settings, profiles) as server:
        on_ready(server.address)
        await stop.wait()
        _log.info("server_draining", grace_seconds=settings.grace)
    _log.info("server_stopped")


def run(main: Coroutine[None, None, None]) -> None:
    """Run a coroutine on uvloop where it is installed (it is not on Windows), else on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
