"""Limits on calls: how many at once, and how often a recipient, an end user or a profile may be the reason for a mail.

Kept in this process; several servers each count for themselves. Addresses are counted under a hash with a key of this
process, so that no memory dump tells who was written to.
"""

from __future__ import annotations

import hashlib
import secrets
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

_OVERLOAD_RETRY_SECONDS: Final = 1.0
_DOTLESS_DOMAINS: Final = frozenset({"gmail.com", "googlemail.com"})
"""Where dots in the local part mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What is allowed. An empty rate is no limit."""

    calls: int
    """SendMessage and ValidateConfig calls at once."""
    calls_per_caller: int
    recipient: tuple[Rate, ...] = ()
    client_ip: tuple[Rate, ...] = ()
    profile: tuple[Rate, ...] = ()


class Limits:
    """Counts calls and mails against what is allowed."""

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._calls: Counter[str] = Counter()
        self._recipients = RateLimiter(settings.recipient)
        self._client_ips = RateLimiter(settings.client_ip)
        self._profiles = RateLimiter(settings.profile)
        self._key = secrets.token_bytes(32)

    @contextmanager
    def call(self, caller: str) -> Iterator[None]:
        """Count a call while it runs.

        Raises:
            Failure: SERVICE_OVERLOADED.
        """
        if self._calls.total() >= self._settings.calls or self._calls[caller] >= self._settings.calls_per_caller:
            raise Failure(
                Reason.SERVICE_OVERLOADED,
                "Too many calls at once. Try again in a moment, or spread them over more servers.",
                stage=Stage.REQUEST,
                retry_after=_OVERLOAD_RETRY_SECONDS,
            )
        self._calls[caller] += 1
        try:
            yield
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                del self._calls[caller]

    def count_mail(self, recipient: Address | None, *, client_ip: str, profile: str | None) -> None:
        """Count a mail that is about to be sent, or a look that costs the provider as much.

        Args:
            recipient: Whom it is to; tags after ``+``, and dots at Gmail, make no other one. None: a log-in alone.
            client_ip: The end user who caused it; empty when unknown.
            profile: Whose configuration sends it. None: one that came with the call.

        Raises:
            Failure: LOCAL_RATE_LIMITED, with the seconds until one more is allowed.
        """
        for name, limiter, key in (
            ("this recipient", self._recipients, self._recipient_key(recipient)),
            ("this client_ip", self._client_ips, client_ip or None),
            ("this profile", self._profiles, profile),
        ):
            wait = limiter.take(key) if key is not None else 0.0
            if wait:
                raise Failure(
                    Reason.LOCAL_RATE_LIMITED,
                    f"The operator's limit of mails for {name} is reached. Try again in {wait:.0f} s.",
                    stage=Stage.REQUEST,
                    retry_after=wait,
                )

    def _recipient_key(self, recipient: Address | None) -> bytes | None:
        if recipient is None or not self._settings.recipient:
            return None
        domain = recipient.ascii_domain.lower()
        local = recipient.local.lower().partition("+")[0]
        if domain in _DOTLESS_DOMAINS:
            local = local.replace(".", "")
        return hashlib.blake2b(f"{local}@{domain}".encode(), key=self._key, digest_size=16).digest()
