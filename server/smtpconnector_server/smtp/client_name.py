"""The name that this machine gives in EHLO (RFC 5321, section 4.1.4): its own if it is one, else its address."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from typing import Final

from smtpconnector_server.smtp.resolver import in_thread

_DOMAIN: Final = re.compile(
    r"(?=.{4,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
)
_WAIT_SECONDS: Final = 2.0


class ClientName:
    """Finds out the machine's name, once."""

    def __init__(self) -> None:
        self._fqdn: asyncio.Future[str] | None = None
        self._wait_until = 0.0

    async def for_connection(self, local_address: str) -> str:
        """Return the name to give on a connection from a local address."""
        now = asyncio.get_running_loop().time
        if self._fqdn is None:
            self._fqdn = in_thread(socket.getfqdn, name="smtp-client-name")  # it asks name servers, and blocks
            self._wait_until = now() + _WAIT_SECONDS
        done, _ = await asyncio.wait({self._fqdn}, timeout=max(0.0, self._wait_until - now()))
        name = self._fqdn.result() if done else ""
        return name if is_domain(name) else address_literal(local_address)


def is_domain(name: str) -> bool:
    """Tell whether a name is a domain with a dot, as a server wants to see it."""
    return _DOMAIN.fullmatch(name) is not None and not name.endswith((".localdomain", ".local", ".arpa"))


def address_literal(address: str) -> str:
    """Return an IP address as an address literal (RFC 5321, section 4.1.3)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return f"[{ip}]" if ip.version == 4 else f"[IPv6:{ip}]"  # noqa: PLR2004
