"""What is known of SMTP providers, and which provider a configuration means.

The facts are data (``data/presets.toml``, ``data/services.toml``), read once.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from smtpconnector_server.config.data import read_table
from smtpconnector_server.config.model import TlsMode
from smtpconnector_server.failure import Reason

_REGION: Final = "<region>"
_IMPLICIT_PORT: Final = 465
# nodemailer compares names of services after this.
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9.-]")

_HINTS: Final = {
    Reason.SMTP_DNS_NOT_FOUND: "Check the spelling of the host.",
    Reason.SMTP_CONNECT_FAILED: "Check host and port; many networks block port 25, and some 465 and 587.",
    Reason.SMTP_CONNECT_TIMEOUT: "Check host and port; many networks block port 25, and some 465 and 587.",
    Reason.SMTP_GREETING_TIMEOUT: "A port that begins with TLS, such as 465, waits for it: use implicit TLS there.",
    Reason.SMTP_TLS_PROTOCOL_MISMATCH: "Use implicit TLS on port 465 and STARTTLS on port 587.",
    Reason.SMTP_TLS_CERTIFICATE_INVALID: "Use the name that the certificate carries, and give the PEM text of "
    "a private authority.",
    Reason.SMTP_TLS_REQUIRED: "The server offers no STARTTLS on this port: use port 465 with implicit TLS.",
    Reason.SMTP_TLS_REQUIRED_FOR_AUTH: "The server offers no STARTTLS on this port: use port 465 with implicit TLS. A "
    "server on this machine may be used with TLS switched off.",
    Reason.SMTP_AUTH_FAILED: "Check user name and password; most providers want an app password or an API key.",
    Reason.SMTP_AUTH_REQUIRED: "The server wants a login: give the credentials.",
    Reason.SMTP_AUTH_UNSUPPORTED: "The server offers no login here: check the port, or leave the credentials out.",
    Reason.SMTP_SENDER_REJECTED: "Use a sender that the provider has verified, often the account itself.",
    **dict.fromkeys(
        (Reason.SMTP_RECIPIENT_DEFERRED, Reason.SMTP_POLICY_REJECTED),
        "If it said that relaying or access is denied, the server does not know this machine: allow its address there "
        "(mynetworks in Postfix), or give credentials.",
    ),
    Reason.OAUTH2_TOKEN_REJECTED: "Check the client's identifier and secret, and let the user consent anew.",
}


class AuthKind(Enum):
    """A way to authenticate to a provider."""

    NONE = "none"
    """The provider knows the sender by his address."""
    LOGIN = "login"
    OAUTH2 = "oauth2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is known of one provider's SMTP service."""

    id: str
    """The value of the document's key ``service``."""
    display_name: str
    aliases: tuple[str, ...] = ()
    host: str
    """``<region>`` in it stands for one of the regions. Empty: the operator's own."""
    also_hosts: tuple[str, ...] = ()
    """Other names of the same service."""
    regions: tuple[str, ...] = ()
    """The default first."""
    port: int
    other_ports: tuple[int, ...] = ()
    implicit_ports: tuple[int, ...] = (_IMPLICIT_PORT,)
    """Those on which TLS begins with the first octet."""
    tls_mode: TlsMode
    """On ``port``."""
    auth_kinds: tuple[AuthKind, ...]
    """The recommended first."""
    max_connections: int | None = None
    """The provider's limit. None: none is published."""
    max_messages: int | None = None
    """On one connection. None: no limit is published."""
    idle_seconds: float | None = None
    """After which the provider closes a connection. None: not known."""
    single_flight: bool = False
    """Whether commands and message may go in one flight (RFC 3030 with RFC 2920)."""
    sender_is_account: bool = False
    """Whether any other sender than the account is refused."""
    user: str | None = None
    """The user name that everybody has."""
    token_hosts: tuple[str, ...] = ()
    """Where OAuth 2.0 tokens for it come from."""
    notes: tuple[str, ...] = ()
    hints: tuple[tuple[str, str], ...] = ()
    """By reason of failure, what usually helps."""
    source_url: str

    def is_at(self, host: str) -> bool:
        """Whether a host is one of this provider's."""
        return any(_host_pattern(pattern).fullmatch(host) for pattern in (self.host, *self.also_hosts) if pattern)


@dataclass(frozen=True, slots=True)
class Service:
    """What a value of ``service`` stands for."""

    host: str
    """Empty: the operator's own, which the document must name."""
    port: int
    tls_mode: TlsMode


@functools.cache
def presets() -> tuple[Preset, ...]:
    """Return all presets."""
    return tuple(_preset(facts) for facts in read_table("presets.toml")["preset"])


@functools.lru_cache(maxsize=256)
def preset_at(host: str) -> Preset | None:
    """Return the preset whose host this is, in lower case."""
    return next((preset for preset in presets() if preset.is_at(host)), None)


def find_service(name: str) -> Service | None:
    """Return what a value of ``service`` stands for: a name, a domain or an e-mail address, as for nodemailer."""
    return _services().get(_normal(name.rpartition("@")[2]))


def service_names() -> tuple[str, ...]:
    """Return the names by which services are found."""
    return tuple(_services())


def hint_for(host: str, reason: Reason) -> str:
    """Return what usually helps when a provider answers so; empty when nothing is known.

    Args:
        host: The SMTP server, in lower case.
        reason: What happened.
    """
    preset = preset_at(host)
    own = dict(preset.hints).get(reason) if preset else None
    return own or _HINTS.get(reason, "")


@functools.cache
def _services() -> dict[str, Service]:
    services = {}
    for preset in presets():
        for name in (preset.id, *preset.aliases):
            for region in ("", *preset.regions):
                host = preset.host.replace(_REGION, region or next(iter(preset.regions), ""))
                key = f"{_normal(name)}-{region}" if region else _normal(name)
                services[key] = Service(host, preset.port, preset.tls_mode)
    for name, facts in read_table("services.toml")["services"].items():
        port = facts.get("port", _IMPLICIT_PORT)
        usual = TlsMode.IMPLICIT if port == _IMPLICIT_PORT else TlsMode.STARTTLS_OFFERED
        service = Service(facts["host"], port, TlsMode(facts["tls_mode"]) if "tls_mode" in facts else usual)
        services.update(dict.fromkeys((name, *facts.get("aliases", ())), service))
    return services


def _normal(name: str) -> str:
    return _NOT_IN_NAMES.sub("", name.lower())


def _preset(facts: dict[str, Any]) -> Preset:  # Any: TOML
    lists = {key: tuple(value) for key, value in facts.items() if isinstance(value, list)}
    return Preset(
        **{
            **facts,
            **lists,
            "tls_mode": TlsMode(facts["tls_mode"]),
            "auth_kinds": tuple(map(AuthKind, facts["auth_kinds"])),
            "hints": tuple((Reason[name], text) for name, text in facts.get("hints", {}).items()),
        }
    )


@functools.cache
def _host_pattern(host: str) -> re.Pattern[str]:
    return re.compile("[a-z0-9.-]+".join(map(re.escape, host.split(_REGION))))
