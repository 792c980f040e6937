"""Limits on calls: how many at once, and how often a recipient, an end user or a profile may be the reason for a mail.

Calls are counted by each process for itself. Mails are counted by all servers on one store together, and by a process
for itself where there is no store, or it cannot be asked. What is counted stands under a keyed hash, so that neither a
memory dump nor the store tells who was written to.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import secrets
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.rpc.rates import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpconnector_server.message.address import Address
    from smtpconnector_server.rpc.rates import Rate
    from smtpconnector_server.rpc.shared_rates import SharedRates

_OVERLOAD_RETRY_SECONDS: Final = 1.0
_DOTLESS_DOMAINS: Final = frozenset({"gmail.com", "googlemail.com"})
"""Where dots in the local part mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What is allowed. An empty rate is no limit."""

    calls: int
    """At once; a watch counts for as long as it lasts."""
    calls_per_caller: int
    recipient: tuple[Rate, ...] = ()
    client_ip: tuple[Rate, ...] = ()
    profile: tuple[Rate, ...] = ()


class Limits:
    """Counts calls and mails against what is allowed.

    Args:
        settings: What is allowed.
        shared: Counts mails together with other servers. None: each process counts for itself.
    """

    def __init__(self, settings: LimitSettings, shared: SharedRates | None = None) -> None:
        self._settings = settings
        self._shared = shared
        self._calls = 0
        """Of all callers: to add them up would cost each call the more the more callers there are."""
        self._calls_of: Counter[str] = Counter()
        self._rates = {
            name: rates
            for name, rates in (
                ("recipient", settings.recipient),
                ("client_ip", settings.client_ip),
                ("profile", settings.profile),
            )
            if rates
        }
        self._alone = {name: RateLimiter(rates) for name, rates in self._rates.items()}
        """What this process has counted: it goes on from there when the store is away."""
        self._secret = secrets.token_bytes(32)

    @contextmanager
    def call(self, caller: str) -> Iterator[None]:
        """Count a call while it runs.

        Raises:
            Failure: SERVICE_OVERLOADED.
        """
        if self._calls >= self._settings.calls or self._calls_of[caller] >= self._settings.calls_per_caller:
            raise Failure(
                Reason.SERVICE_OVERLOADED,
                "Too many calls at once. Try again in a moment, or spread them over more servers.",
                stage=Stage.REQUEST,
                retry_after=_OVERLOAD_RETRY_SECONDS,
            )
        self._calls += 1
        self._calls_of[caller] += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._calls_of[caller] -= 1
            if not self._calls_of[caller]:
                del self._calls_of[caller]

    async def count_mail(self, recipient: Address | None, *, client_ip: str, profile: str | None) -> float:
        """Count a mail that is about to be sent, or a look that costs the provider as much.

        Args:
            recipient: Whom it is to; tags after ``+``, and dots at Gmail, make no other one. None: a log-in alone.
            client_ip: The end user who caused it; empty when unknown.
            profile: Whose configuration sends it. None: one that came with the call.

        Returns:
            The seconds that it took, of a call's time.

        Raises:
            Failure: LOCAL_RATE_LIMITED, with the seconds until one more is allowed.
        """
        if not self._rates:
            return 0.0
        started = time.monotonic()
        values = {"recipient": _mailbox(recipient), "client_ip": _plain_ip(client_ip), "profile": profile}
        for name in self._rates:
            value = values[name]
            wait = await self._take(name, value) if value else 0.0
            if wait:
                raise Failure(
                    Reason.LOCAL_RATE_LIMITED,
                    f"The operator's limit of mails for this {name} is reached. Try again in {math.ceil(wait)} s.",
                    stage=Stage.REQUEST,
                    retry_after=wait,
                )
        return time.monotonic() - started

    async def _take(self, name: str, value: str) -> float:
        alone = self._alone[name]
        if self._shared is None:
            return alone.take(hashlib.blake2b(value.encode(), key=self._secret, digest_size=16).digest())
        key = self._shared.key(name, value)
        wait = alone.wait(key)
        if wait:  # this process alone has counted as many: a flood does not reach the store
            return wait
        shared_wait = await self._shared.take(key, self._rates[name])
        if shared_wait:
            return shared_wait
        wait = alone.take(key)
        return wait if shared_wait is None else 0.0


def _mailbox(recipient: Address | None) -> str | None:
    if recipient is None:
        return None
    domain = recipient.ascii_domain.lower()
    local = recipient.local.lower().partition("+")[0]
    if domain in _DOTLESS_DOMAINS:
        local = local.replace(".", "")
    return f"{local}@{domain}"


def _plain_ip(client_ip: str) -> str:
    """Return an address in its one short form."""
    return str(ipaddress.ip_address(client_ip)) if client_ip else ""
