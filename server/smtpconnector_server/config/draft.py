"""A configuration as it was said, before anyone asked whether it makes sense.

Both doors make a draft, and every rule reads one. Each value knows its path in the caller's own form, so that a rule
need not know which door it came through.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from smtpconnector_server.config.origin import Origin

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """A value and where it stands. Never printed: it may be a secret."""

    path: str
    value: T | None = None
    """None: absent, or of the wrong type."""
    is_spoilt: bool = False
    """It was there with a wrong type, which has been reported: that it is missing need not be said again."""

    @property
    def is_given(self) -> bool:
        """Whether there was a value, good or spoilt."""
        return self.value is not None or self.is_spoilt

    def __repr__(self) -> str:
        return f"Said({self.path!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsDraft:
    """The refinements of TLS."""

    server_name: Said[str]
    verify: Said[bool]
    ca_pem: Said[str]
    cert_pem: Said[str]
    key_pem: Said[str]
    key_passphrase: Said[str]
    min_version: Said[str]
    max_version: Said[str]
    ciphers: Said[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginDraft:
    """A user name and a password."""

    user: Said[str]
    password: Said[str]
    method: Said[str]
    may_be_empty: bool = True
    """Whether neither user nor password means no AUTH, and is not a fault."""


class Grant(Enum):
    """A way to an access token."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 - a name
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a name
    SERVICE_ACCOUNT = "service_account"
    CLIENT_CREDENTIALS = "client_credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Draft:
    """An OAuth 2.0 identity, with whatever a token can be had by."""

    grant: Grant | None
    """None: as the values tell."""

    user: Said[str]
    access_token: Said[str]
    expires_at: Said[float]
    """Seconds since the epoch."""
    client_id: Said[str]
    client_secret: Said[str]
    refresh_token: Said[str]
    service_client: Said[str]
    private_key: Said[str]
    private_key_passphrase: Said[str]
    token_url: Said[str]
    scope: Said[str]
    method: Said[str]


AuthDraft: TypeAlias = LoginDraft | OAuth2Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDraft:
    """One template."""

    path: str
    usage_type: Said[str]
    content_type: Said[str]
    subject: Said[str]
    content: Said[str]
    text_content: Said[str]
    reply_to: Said[str]
    send_from: Said[str]
    language_tag: Said[str]
    escape: Said[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderDraft:
    """One header field."""

    name: Said[str]
    value: Said[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutsDraft:
    """The upper bounds of single waits, in seconds."""

    dns: Said[float]
    connection: Said[float]
    greeting: Said[float]
    socket: Said[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDraft:
    """The bounds of the connection pool."""

    max_connections: Said[int]
    max_messages: Said[int]
    idle_seconds: Said[float]
    rate_limit: Said[int]
    rate_seconds: Said[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class DsnDraft:
    """What is asked for as delivery status notifications."""

    envelope_id: Said[str]
    returned: Said[str]
    notify: Said[str | list[str]]
    """Events, in a list or separated by commas."""
    original_recipient: Said[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKeyDraft:
    """A key to sign with."""

    domain: Said[str]
    selector: Said[str]
    private_key: Said[str]
    private_key_passphrase: Said[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimDraft:
    """What mails are signed with."""

    path: str
    keys: tuple[DkimKeyDraft, ...]
    hash_algorithm: Said[str]
    header_names: Said[str]
    """Separated by colons, as those in the next one."""
    skipped_names: Said[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A whole configuration."""

    origin: Origin
    service: Said[str]
    host: Said[str]
    port: Said[int]
    secure: Said[bool]
    """Whether TLS begins with the first octet. None: as the port says."""
    require_tls: Said[bool]
    ignore_tls: Said[bool]
    tls: TlsDraft
    auth_path: str
    auth: AuthDraft | None
    """None: nothing that could be read as credentials."""
    from_email: Said[str]
    reply_to: Said[str]
    templates: Said[tuple[TemplateDraft, ...]]
    headers_path: str
    headers: tuple[HeaderDraft, ...]
    client_hostname: Said[str]
    local_address: Said[str]
    timeouts: TimeoutsDraft
    pool: PoolDraft
    single_flight: Said[bool]
    logger: Said[bool]
    debug: Said[bool]
    dsn: DsnDraft
    otp_origin: Said[str]
    dkim: DkimDraft
