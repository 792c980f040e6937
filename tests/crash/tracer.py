"""strace as a saboteur: a running server is killed at a system call, or a system call fails."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from harness.servers.programs import MissingServerError, environment, program

if TYPE_CHECKING:
    from crash.servers import Server

SYNC = "fdatasync"
"""What makes SQLite's log durable."""
STORE_CALLS = (SYNC, "pwrite64")
NETWORK_CALLS = ("write", "writev", "sendto", "sendmsg", "recvfrom", "read")
_DETACH_SECONDS = 5.0


@cache
def absence() -> str:
    """Say why there can be no tracing here; empty: there can."""
    try:
        command = [program("strace"), "-qq", "-e", "trace=none", "true"]
    except MissingServerError as missing:
        return str(missing)
    tried = subprocess.run(command, env=environment(), capture_output=True, check=False)  # noqa: S603 - our own
    return "" if tried.returncode == 0 else "this machine does not allow to trace processes"


async def kill_at(server: Server, call: str, count: int, *, within: float) -> bool:
    """Kill a server as it enters a system call for the ``count``-th time from now; return whether it came to it."""
    return await _inject(server, f"{call}:signal=KILL:when={count}", within=within)


async def fail(server: Server, call: str, error: str, *, seconds: float) -> None:
    """Let every system call of a kind fail for some seconds."""
    await _inject(server, f"{call}:error={error}", within=seconds)


async def _inject(server: Server, what: str, *, within: float) -> bool:
    call = what.partition(":")[0]
    process = await asyncio.create_subprocess_exec(
        *(program("strace"), "-f", "-qqq", "-p", str(server.pid), "-e", f"trace={call}", "-e", f"inject={what}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await server.gone(within=within)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)  # it lets go of the server, which goes on
        try:
            async with asyncio.timeout(_DETACH_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    return not server.is_up
