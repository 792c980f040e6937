"""Looks up host names without letting a dead name server hold up anybody else.

``getaddrinfo`` cannot be cancelled and may hang for a minute, so each look-up has a thread of its own (a daemon: a hung
one does not keep the process alive), hosts that are looked up already are joined, and the number is bounded.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

from smtpconnector_server.failure import Failure, Reason, Stage

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup: TypeAlias = Callable[[str], Sequence[IpAddress]]
"""Blocks. Raises OSError."""

_MAX_LOOKUPS: Final = 32
_NO_SUCH_NAME: Final = frozenset(
    {
        socket.EAI_NONAME,
        getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
        getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME),
    }
)

_T = TypeVar("_T")


class Resolver:
    """Looks up host names.

    Args:
        lookup: Looks up one name, blocking. The system's by default.
    """

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or _system_lookup
        self._running: dict[str, asyncio.Future[Sequence[IpAddress]]] = {}

    async def resolve(self, host: str, *, within: float) -> Sequence[IpAddress]:
        """Return the addresses of a host, at least one, the preferred first.

        Args:
            host: A domain name or an IP address.
            within: Seconds.

        Raises:
            Failure: There are none, or the look-up failed or took too long.
        """
        try:
            return (ipaddress.ip_address(host),)
        except ValueError:
            pass
        running = self._running.get(host)
        if running is None:
            if len(self._running) >= _MAX_LOOKUPS:
                raise Failure(
                    Reason.SMTP_DNS_TEMPORARY,
                    f"{host} was not looked up: too many look-ups of other names hang. Check the name servers.",
                    stage=Stage.RESOLVE,
                    host=host,
                )
            running = self._running[host] = in_thread(lambda: self._lookup(host), name="smtp-resolver")
            running.add_done_callback(lambda _done: self._running.pop(host))
        try:
            async with asyncio.timeout(within):
                addresses = await asyncio.shield(running)
        except TimeoutError as error:
            raise Failure(
                Reason.SMTP_DNS_TEMPORARY,
                f"The look-up of {host} took longer than {within:g} s. Check the name servers.",
                stage=Stage.RESOLVE,
                host=host,
            ) from error
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                raise _not_found(host) from error
            raise Failure(
                Reason.SMTP_DNS_TEMPORARY,
                f"The look-up of {host} failed for the moment. Try again later.",
                stage=Stage.RESOLVE,
                host=host,
            ) from error
        except UnicodeError as error:  # a label that is empty or too long
            raise _not_found(host) from error
        if not addresses:
            raise _not_found(host)
        return addresses


def in_thread(function: Callable[[], _T], *, name: str) -> asyncio.Future[_T]:
    """Run a blocking function in a daemon thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def deliver(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # it is there when no error is
        else:
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more

    def run() -> None:
        result, raised = None, None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            raised = error
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(deliver, result, raised)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _not_found(host: str) -> Failure:
    return Failure(
        Reason.SMTP_DNS_NOT_FOUND,
        f"There is no address for {host}. Check the host's name.",
        stage=Stage.RESOLVE,
        host=host,
    )


def _system_lookup(host: str) -> Sequence[IpAddress]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # Without the scope of a link-local address: a name that is looked up has none.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found))
