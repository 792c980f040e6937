"""How the service is reached: address, TLS, token, deadline and retries, checked before the first call.

Invariant: nothing travels in the clear to another machine unless the caller said ``insecure=True``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from math import isfinite
from typing import TypeAlias

import grpc
import grpc.aio

Metadata: TypeAlias = Sequence[tuple[str, "str | bytes"]]
"""Metadata of a call, such as ``[("traceparent", "00-...")]``."""

DEFAULT_TIMEOUT_SECONDS = 30.0

# The service says UNAVAILABLE only of a mail that was not sent. gRPC says it also of a connection that breaks during a
# call, and would send the call again; it does not once the service has answered with headers (gRFC A6: committed).
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                # All but ResolveDelivery, where a repeat could be one more mail.
                "name": [
                    {"service": "smtpconnector.v1.ConnectorService"},
                    *(
                        {"service": "smtpconnector.v1.DeliveryService", "method": method}
                        for method in ("GetDelivery", "WatchDelivery", "ListDeliveries", "CancelDelivery")
                    ),
                ],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    # Mails are rare: without pings a NAT forgets the idle connection, and the next call would hang until its deadline.
    # The server allows a ping each 30 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True)
class Tls:
    """TLS to the service; each part is PEM."""

    root_certificates: bytes | None = None
    """The authorities to trust. None: gRPC's own, or those that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names."""
    certificate_chain: bytes | None = None
    """The certificate to show to the service, for mutual TLS."""
    private_key: bytes | None = field(default=None, repr=False)
    """Its private key."""
    server_name: str = ""
    """The name that the service's certificate must carry. Empty: the host of the target."""

    def __post_init__(self) -> None:
        if (self.certificate_chain is None) != (self.private_key is None):
            raise ValueError("mutual TLS needs both certificate_chain and private_key")


@dataclass(frozen=True)
class Endpoint:
    """A service and how to speak to it."""

    target: str
    tls: Tls | None
    """None: in the clear."""
    token: str | Callable[[], str] | None = field(repr=False)
    timeout: float
    """Seconds."""

    @classmethod
    def of(
        cls,
        target: str,
        *,
        tls: Tls | None,
        token: str | Callable[[], str] | None,
        insecure: bool,
        timeout: float,
    ) -> Endpoint:
        """Check the arguments and apply the rule: TLS, except to this machine or by the caller's word.

        Raises:
            ValueError: The arguments contradict each other, or one is out of range.
        """
        if tls is not None and insecure:
            raise ValueError("insecure=True and tls= exclude each other: give one of them")
        if tls is None and not insecure and not _is_this_machine(target):
            tls = Tls()
        if isinstance(token, str):
            _check_token(token)
        return cls(target, tls, token, _seconds(timeout))

    def open(self) -> grpc.Channel:
        """Make a channel for threads."""
        if self.tls is None:
            return grpc.insecure_channel(
                self.target,
                options=self._options(),
            )
        return grpc.secure_channel(self.target, _credentials(self.tls), options=self._options())

    def open_in_loop(self) -> grpc.aio.Channel:
        """Make a channel for the running event loop."""
        if self.tls is None:
            return grpc.aio.insecure_channel(self.target, options=self._options())
        return grpc.aio.secure_channel(self.target, _credentials(self.tls), options=self._options())

    def deadline(self, timeout: float | None) -> float:
        """Return the seconds that a call may take: its own, else the client's. There is always an end.

        Raises:
            ValueError: It is not a positive, finite number.
        """
        return self.timeout if timeout is None else _seconds(timeout)

    def metadata(self, metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
        """Return a call's metadata, with the token.

        Raises:
            ValueError: The token cannot be sent.
        """
        if self.token is None:
            return tuple(metadata)
        token = self.token if isinstance(self.token, str) else self.token()
        _check_token(token)
        return (*metadata, ("authorization", f"Bearer {token}"))

    def _options(self) -> list[tuple[str, str | int]]:
        if self.tls is None:
            # A proxy that the environment names would see, on another machine, what is meant for this one.
            return [*_OPTIONS, ("grpc.enable_http_proxy", 0)]
        if self.tls.server_name:
            return [*_OPTIONS, ("grpc.ssl_target_name_override", self.tls.server_name)]
        return list(_OPTIONS)


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)


def _seconds(timeout: float) -> float:
    if not (isfinite(timeout) and timeout > 0):
        raise ValueError("timeout must be a positive number of seconds; None means the client's, never forever")
    return timeout


def _check_token(token: str) -> None:
    # RFC 6750, section 2.1: what else is in it would end the header or begin another one.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token must be visible ASCII characters without spaces")


def _is_this_machine(target: str) -> bool:
    """Tell whether every address of a gRPC target is a Unix socket or a loopback address."""
    scheme, separator, rest = target.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        return True
    if scheme in {"ipv4", "ipv6"} and separator:
        return all(_is_loopback(_host(address)) for address in rest.split(","))
    if scheme == "dns" and separator:
        # dns://authority/host:port and dns:host:port
        target = rest.split("/", 3)[-1] if rest.startswith("//") else rest
    return _is_loopback(_host(target))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
