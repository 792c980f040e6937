"""The connector's configuration as the rest of the service knows it.

Every value here has passed the validator: hosts are ASCII, addresses parse, limits hold. The model is immutable and
hashable, so that what is made from it (TLS contexts, compiled templates, connection pools) can be kept by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from smtpconnector_server.config.secret import Secret
    from smtpconnector_server.message.address import Mailbox
    from smtpconnector_server.message.signature import SignatureAlgorithm
    from smtpconnector_server.message.template import Template


class TlsMode(Enum):
    """When TLS begins on a connection."""

    IMPLICIT = "implicit"
    """From the first octet, usually on port 465 (RFC 8314, section 3.3)."""
    STARTTLS_REQUIRED = "starttls_required"
    """By STARTTLS (RFC 3207); a server that does not offer it is refused."""
    STARTTLS_OFFERED = "starttls_offered"
    """By STARTTLS where the server offers it. Credentials never go without TLS."""
    DISABLED = "disabled"
    """Never. Credentials, if there are any, go in the clear."""


class TlsVersion(Enum):
    """A version of TLS, by the name that OpenSSL and Node.js give it."""

    TLS_1_0 = "TLSv1"
    TLS_1_1 = "TLSv1.1"
    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """How the server's certificate is checked, and which one is shown to it. PEM text, never a path."""

    server_name: str | None = None
    """The name that the certificate must carry and that is sent as SNI. None: the host."""
    ca_pem: str | None = None
    """Trusted roots, in place of the system's. None: the system's."""
    client_cert_pem: str | None = None
    client_key_pem: Secret | None = None
    client_key_passphrase: Secret | None = None
    min_version: TlsVersion = TlsVersion.TLS_1_2
    max_version: TlsVersion | None = None
    """None: the newest that OpenSSL has."""
    ciphers: str | None = None
    """An OpenSSL cipher list for TLS 1.2 and older. None: OpenSSL's default."""
    verify: bool = True
    """False accepts any certificate for any name."""


class LoginMechanism(Enum):
    """A SASL mechanism for a user name and a password."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    CRAM_MD5 = "CRAM-MD5"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAuth:
    """A user name and a password."""

    user: str
    password: Secret
    mechanism: LoginMechanism | None = None
    """The mechanism to use. None: the first that the server offers of PLAIN, LOGIN, CRAM-MD5."""


class TokenMechanism(Enum):
    """A SASL mechanism for an OAuth 2.0 access token."""

    XOAUTH2 = "XOAUTH2"
    OAUTHBEARER = "OAUTHBEARER"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A ready access token."""

    token: Secret
    expires_at: float | None = None
    """Seconds since the epoch. None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTokenGrant:
    """Access tokens by a user's refresh token (RFC 6749, section 6)."""

    client_id: str
    client_secret: Secret | None
    refresh_token: Secret
    token_url: str
    scope: str | None = None
    """The scopes to ask for, separated by spaces. None: those that the refresh token was granted with."""
    access_token: AccessToken | None = None
    """A token to begin with. None: fetch one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountGrant:
    """Access tokens by a signed JWT (RFC 7523)."""

    service_client: str
    private_key_pem: Secret
    private_key_passphrase: Secret | None
    token_url: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentialsGrant:
    """Access tokens by the application's own credentials, without a user (RFC 6749, section 4.4)."""

    client_id: str
    client_secret: Secret
    token_url: str
    scope: str


TokenSource: TypeAlias = AccessToken | RefreshTokenGrant | ServiceAccountGrant | ClientCredentialsGrant


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Auth:
    """An OAuth 2.0 access token for a mailbox."""

    user: str
    source: TokenSource
    mechanism: TokenMechanism | None = None
    """The mechanism to use. None: the first that the server offers of XOAUTH2, OAUTHBEARER."""


Auth: TypeAlias = LoginAuth | OAuth2Auth


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Upper bounds of single waits, in seconds. A call's deadline bounds them all."""

    dns: float = 30.0
    connection: float = 120.0
    """TCP and, with implicit TLS, the handshake."""
    greeting: float = 30.0
    socket: float = 600.0
    """Any later reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How far the connections to a server are kept and shared."""

    max_connections: int = 5
    """Open at the same time. Microsoft 365 allows 3."""
    max_messages: int = 90
    """Per connection. Servers close theirs after 100 or more."""
    idle_seconds: float = 8.0
    """Until an unused connection is closed. Amazon SES closes after about 10 s."""
    max_age_seconds: float = 300.0
    """Of a connection, so that load moves when the provider's addresses do."""
    rate_limit: int = 0
    """Mails within ``rate_seconds``, by this process. 0: any number."""
    rate_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The SMTP server: where it is, how to connect and how to authenticate."""

    host: str
    """An ASCII domain name (A-labels) or an IP address without brackets."""
    port: int
    tls_mode: TlsMode
    tls: TlsOptions = TlsOptions()
    auth: Auth | None = None
    """None: no AUTH command is sent."""
    client_hostname: str | None = None
    """The argument of EHLO. None: this machine's name."""
    local_address: str | None = None
    timeouts: Timeouts = Timeouts()
    pool: PoolLimits = PoolLimits()
    single_flight: bool = False
    """Whether the server is trusted to take commands and message in one flight (RFC 3030 with RFC 2920): an operator's
    own Postfix or Exim. Some providers are trusted without it."""
    transcript: bool = False
    """Whether what is said on its connections is told, redacted. Only an operator may ask for it."""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Each mail finds its pool by its server; hashing all that is in it would cost more than the search.
        values = (getattr(self, each.name) for each in fields(self) if each.compare)
        object.__setattr__(self, "_hash", hash(tuple(values)))

    def __hash__(self) -> int:
        return self._hash


class DsnReturn(Enum):
    """How much of a mail a notification brings back."""

    FULL = "full"
    HEADERS = "hdrs"


class DsnEvent(Enum):
    """What a sender wants to be told of."""

    NEVER = "never"
    """Nothing at all, not even that a mail could not be delivered. Stands alone."""
    SUCCESS = "success"
    FAILURE = "failure"
    DELAY = "delay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dsn:
    """What is asked of servers that offer delivery status notifications (RFC 3461). They go to the sender."""

    envelope_id: str | None = None
    """Printable ASCII that a notification shows."""
    returned: DsnReturn | None = None
    """None: as the server likes."""
    notify: tuple[DsnEvent, ...] = ()
    """Empty: as the server likes, mostly of failures."""
    original_recipient: str | None = None
    """An address with its type, such as ``rfc822;ada@example.com``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """What a domain signs mails with."""

    domain: str
    """In A-labels."""
    selector: str
    algorithm: SignatureAlgorithm
    private_key: Secret
    """As :class:`.signature.SigningKey` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dkim:
    """How mails are signed (RFC 6376)."""

    keys: tuple[DkimKey, ...]
    """One at least; each makes a signature."""
    header_names: tuple[str, ...] = ()
    """The headers to sign, in lower case. Empty: those that RFC 6376 recommends."""
    skipped_names: tuple[str, ...] = ()
    """Headers not to sign, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """A whole configuration."""

    server: Server
    from_email: Mailbox
    reply_to: tuple[Mailbox, ...] = ()
    """Empty: no Reply-To is written."""
    templates: tuple[Template, ...] = ()
    custom_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Name and value, in order. Not in the repr: values may be secrets, such as API keys."""
    dsn: Dsn | None = None
    """None: nothing is asked for."""
    otp_origin: str | None = None
    """The site that codes are for, such as ``https://example.com``, for the header OTP-Token. None: no such header."""
    dkim: Dkim | None = None
    """None: mails are not signed."""
