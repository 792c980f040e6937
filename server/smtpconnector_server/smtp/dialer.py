"""Connects to servers: one look-up, the policy's consent to every address, then the first address that answers.

The socket is connected to an address that the policy has seen, and nobody looks the name up again behind it: a name
server that changes its answer meanwhile gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.resolver import Resolver
from smtpconnector_server.smtp.tls import TlsContexts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.config.model import Server
    from smtpconnector_server.smtp.resolver import IpAddress

_STAGGER_SECONDS: Final = 0.25
"""Until the next address is tried beside the last one (RFC 8305, section 5)."""
_KEEPALIVE_SECONDS: Final = 30


_Connected: TypeAlias = "tuple[IpAddress, socket.socket]"


class DialPolicy(Protocol):
    """Says where connections may go."""

    def vet(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
        """Allow a connection to any of these addresses.

        Raises:
            Failure: One of them is forbidden (EGRESS_DENIED).
        """
        ...

    def vet_source(self, local_address: str) -> None:
        """Allow connections from this address of the machine.

        Raises:
            Failure: It is forbidden (EGRESS_DENIED).
        """
        ...

    def tell(self, host: str, port: int, failure: Failure) -> Failure:
        """Return what may be told of a failure to connect."""
        ...

    def tells_all(self, host: str, port: int) -> bool:
        """Tell whether that, and what else is seen of a host, may be told as it is."""
        ...


class AllowAll:
    """A policy without rules."""

    def vet(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
        """Allow it."""

    def vet_source(self, local_address: str) -> None:
        """Allow it."""

    def tell(self, host: str, port: int, failure: Failure) -> Failure:  # noqa: ARG002 - a rule would look at them
        """Tell all of it."""
        return failure

    def tells_all(self, host: str, port: int) -> bool:  # noqa: ARG002 - a rule would look at them
        """Tell everybody everything."""
        return True


class Dialer:
    """Makes TCP connections, and keeps what their TLS needs.

    Args:
        policy: Says where connections may go.
        resolver: Looks up names.
    """

    def __init__(self, *, policy: DialPolicy | None = None, resolver: Resolver | None = None) -> None:
        self.contexts = TlsContexts()
        self._policy = policy or AllowAll()
        self._resolver = resolver or Resolver()

    async def dial(
        self, server: Server, on_step: Callable[[Stage, str], None] = lambda _stage, _detail: None
    ) -> socket.socket:
        """Connect to a server.

        Args:
            server: Which one.
            on_step: Told when RESOLVE and CONNECT are done, and with what.

        Returns:
            A connected, non-blocking socket.

        Raises:
            Failure: At stage RESOLVE or CONNECT.
        """
        try:
            return await self._dial(server, on_step)
        except Failure as failure:
            told = self._policy.tell(server.host, server.port, failure)
            if told is failure:
                raise
            raise told from None

    async def _dial(self, server: Server, on_step: Callable[[Stage, str], None]) -> socket.socket:
        if server.local_address is not None:
            self._policy.vet_source(server.local_address)
        addresses = await self.resolve(server)
        on_step(Stage.RESOLVE, ", ".join(map(str, addresses)))
        try:
            async with asyncio.timeout(server.timeouts.connection):
                address, connected = await _first_to_answer(_in_turns(addresses, server.local_address), server)
        except TimeoutError as error:
            raise Failure(
                Reason.SMTP_CONNECT_TIMEOUT,
                f"{server.host} did not answer on port {server.port} within {server.timeouts.connection:g} s. Check the"
                " host, the port, and whether a firewall lets it through.",
                stage=Stage.CONNECT,
                host=server.host,
            ) from error
        on_step(Stage.CONNECT, f"{address} port {server.port}")
        return connected

    async def resolve(self, server: Server) -> Sequence[IpAddress]:
        """Look up a server and have its addresses vetted, all of them.

        Raises:
            Failure: At stage RESOLVE, or the policy's.
        """
        addresses = await self._resolver.resolve(server.host, within=server.timeouts.dns)
        self._policy.vet(server.host, server.port, addresses)
        return addresses

    def tells_all(self, server: Server) -> bool:
        """Tell whether whoever named a server may learn all that is seen of it."""
        return self._policy.tells_all(server.host, server.port)


def _in_turns(addresses: Sequence[IpAddress], local_address: str | None) -> deque[IpAddress]:
    """Order addresses so that families alternate, the preferred one first (RFC 8305, section 4)."""
    if local_address is not None:
        version = ipaddress.ip_address(local_address).version
        return deque(address for address in addresses if address.version == version)
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    return deque(address for pair in zip_longest(first, second) for address in pair if address is not None)


async def _first_to_answer(addresses: deque[IpAddress], server: Server) -> _Connected:
    attempts: set[asyncio.Task[_Connected]] = set()
    error: OSError | None = None
    try:
        while addresses or attempts:
            if addresses:
                attempts.add(asyncio.create_task(_connect(addresses.popleft(), server)))
            done, attempts = await asyncio.wait(
                attempts,
                timeout=_STAGGER_SECONDS if addresses else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            winners = []
            for attempt in done:
                try:
                    winners.append(attempt.result())
                except OSError as failed:
                    # A server that refuses says more than an address family that has no route.
                    error = error if isinstance(error, ConnectionRefusedError) else failed
            if winners:
                for _, spare in winners[1:]:
                    spare.close()
                return winners[0]
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_discard)
    raise Failure(
        Reason.SMTP_CONNECT_FAILED,
        f"No connection to {server.host} on port {server.port}: {_in_words(error)}.",
        stage=Stage.CONNECT,
        host=server.host,
    ) from error


async def _connect(address: IpAddress, server: Server) -> _Connected:
    connecting = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)  # noqa: PLR2004
    try:
        connecting.setblocking(False)  # noqa: FBT003 - the standard library's signature
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        if server.local_address is not None:
            connecting.bind((server.local_address, 0))
        await asyncio.get_running_loop().sock_connect(connecting, (str(address), server.port))
    except BaseException:
        connecting.close()
        raise
    return address, connecting


def _discard(attempt: asyncio.Task[_Connected]) -> None:
    """Close what an attempt has connected that nobody waits for any more."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[1].close()


def _in_words(error: OSError | None) -> str:
    match error:
        case None:
            return "it has no address of the family of the local address"
        case ConnectionRefusedError():
            return "nothing listens there (connection refused)"
        case _:
            return (error.strerror or "the attempt failed").lower()
