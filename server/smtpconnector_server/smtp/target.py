"""Where configurations that callers bring may connect to: public addresses, and what the operator allows.

The policy sees the addresses that a name resolved to, before one of them is connected, so that neither a private
address nor a name that points to one gets through (server-side request forgery).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smtpconnector_server.smtp.resolver import IpAddress

SMTP_PORTS: Final = frozenset({25, 465, 587, 2465, 2525, 2587})
"""The ports of SMTP submission, and the other ones that providers offer for it."""
HTTPS_PORTS: Final = frozenset({443})
"""The port of token end points."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")  # all that is assigned of RFC 4291, section 2.4
_WITH_PORT: Final = re.compile(r"(?P<where>\[[^\]]+\](?:/\d+)?|[^:\[\]]+):(?P<port>\d{1,5})")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?")
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Target:
    """What the operator allows: a host by name, or a network, on one port or on all."""

    host: str | None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    port: int | None

    def names(self, host: str, port: int) -> bool:
        """Tell whether this is the host by its name."""
        return self.host is not None and self.host == _canonical(host) and self.port in {None, port}

    def holds(self, address: IpAddress, port: int) -> bool:
        """Tell whether the address is in the network."""
        return self.network is not None and address in self.network and self.port in {None, port}


def parse_target(text: str) -> Target:
    """Read ``HOST``, ``ADDRESS`` or ``CIDR``, each with an optional ``:PORT`` (IPv6 in brackets then).

    Raises:
        ValueError: It is none of these.
    """
    match = _WITH_PORT.fullmatch(text)
    where = (match["where"] if match else text).replace("[", "").replace("]", "")
    port = int(match["port"]) if match else None
    if port is None or 0 < port <= _MAX_PORT:
        try:
            return Target(None, ipaddress.ip_network(where, strict=False), port)
        except ValueError:
            if _HOST_NAME.fullmatch(where):
                return Target(_canonical(where), None, port)
    raise ValueError(f"a target is HOST, ADDRESS or CIDR with an optional :PORT, such as 10.0.0.0/8:25; got {text!r}")


class PublicTargets:
    """The policy for configurations that callers bring.

    Args:
        allowed: What the operator allows besides.
        ports: The ports that are allowed on public addresses.
    """

    def __init__(self, allowed: Iterable[Target] = (), *, ports: frozenset[int] = SMTP_PORTS) -> None:
        self._allowed = tuple(allowed)
        self._ports = ports

    def vet(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
        """Allow a connection to any of these addresses.

        Raises:
            Failure: EGRESS_DENIED, if one of them, or the port, is not allowed.
        """
        if any(target.names(host, port) for target in self._allowed):
            return
        for address in addresses:
            is_allowed = any(target.holds(address, port) for target in self._allowed)
            if not is_allowed and (port not in self._ports or not _is_public(address)):
                raise _denied(
                    host,
                    "The server's policy does not allow this host and port for a configuration that comes with a call. "
                    "Public addresses on the usual ports are allowed; whoever runs the server can allow others.",
                )

    def vet_source(self, local_address: str) -> None:
        """Allow connections from this address of the machine: only one that the operator allows as a target.

        Raises:
            Failure: EGRESS_DENIED.
        """
        address = ipaddress.ip_address(local_address)
        if not any(target.network is not None and address in target.network for target in self._allowed):
            raise _denied(
                "", "The server's policy does not let a configuration that comes with a call choose the local address."
            )

    def tell(self, host: str, port: int, failure: Failure) -> Failure:
        """Return the same answer for every host that could not be reached, lest calls map the server's network.

        Of a host that the operator allows by name or address everything is told, and so is a refusal of this policy.
        """
        if failure.reason is Reason.EGRESS_DENIED or self.tells_all(host, port):
            return failure
        return Failure(
            Reason.SMTP_CONNECT_FAILED,
            "The SMTP server could not be reached. Check the host and the port.",
            stage=Stage.CONNECT,
            host=host,
        )

    def tells_all(self, host: str, port: int) -> bool:
        """Tell whether the operator allows a host by its name or address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return any(target.names(host, port) for target in self._allowed)
        return any(target.holds(address, port) for target in self._allowed)


def _denied(host: str, message: str) -> Failure:
    return Failure(Reason.EGRESS_DENIED, message, stage=Stage.RESOLVE, host=host)


def _is_public(address: IpAddress) -> bool:
    """Tell whether an address, and one that it may carry inside, is of the public Internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inside is None and address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _is_public(inside)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast and not address.is_unspecified


def _canonical(host: str) -> str:
    return host.rstrip(".").lower()
