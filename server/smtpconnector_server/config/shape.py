"""The two forms of a configuration, as far as types and lengths go.

Nothing is required here and ``None`` is always allowed: what must be there depends on the rest, and rules say so
better. Keys that are not named are kept, to be reported. Integers arrive as ints (see ``intake``), so all is strict:
``"587"`` is text, ``1`` is no boolean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from smtpconnector_server.config import limits

if TYPE_CHECKING:
    from collections.abc import Iterable

Host: TypeAlias = Annotated[str, Field(max_length=limits.HOST)]
Account: TypeAlias = Annotated[str, Field(max_length=limits.ACCOUNT)]
SecretText: TypeAlias = Annotated[str, Field(max_length=limits.SECRET)]
Url: TypeAlias = Annotated[str, Field(max_length=limits.URL)]
Pem: TypeAlias = Annotated[str, Field(max_length=limits.PEM)]
MailboxText: TypeAlias = Annotated[str, Field(max_length=limits.MAILBOX)]
UsageType: TypeAlias = Annotated[str, Field(max_length=limits.USAGE_TYPE)]
Subject: TypeAlias = Annotated[str, Field(max_length=limits.SUBJECT)]
Content: TypeAlias = Annotated[str, Field(max_length=limits.CONTENT)]
LanguageTag: TypeAlias = Annotated[str, Field(max_length=limits.LANGUAGE_TAG)]
HeaderValue: TypeAlias = Annotated[str, Field(max_length=limits.HEADER_VALUE)]
SigningName: TypeAlias = Annotated[str, Field(max_length=limits.DKIM_NAME)]
Milliseconds: TypeAlias = Annotated[float, Field(ge=0, le=limits.TIMEOUT_SECONDS * 1000)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=limits.TIMEOUT_SECONDS)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Port: TypeAlias = Annotated[int, Field(ge=0, le=65535)]
# Digits as text, from 0 to 65535; nothing at all for the default.
PortText: TypeAlias = Annotated[
    str,
    Field(pattern="^ *(0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))? *$"),
]
TlsVersionName: TypeAlias = Literal["", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]


class Shape(BaseModel):
    """An object with known keys, in one of the two forms."""

    model_config = ConfigDict(strict=True, extra="allow", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Show nothing: there are secrets among the values."""
        return ()


def key_names(*shapes: type[Shape]) -> list[str]:
    """Return the keys that shapes name, in their order, each once."""
    fields = ((name, field) for shape in shapes for name, field in shape.model_fields.items())
    return list(dict.fromkeys(field.alias or name for name, field in fields))


class LoginShape(Shape):
    """``auth`` of a document: a user name and a password."""

    type: Literal["login", "Login", "LOGIN"] | None = None
    user: Account | None = None
    password: SecretText | None = Field(None, alias="pass")
    method: Account | None = None


class PrivateKeyShape(Shape):
    """``auth.privateKey`` of a document: an encrypted key with its passphrase."""

    key: SecretText | None = None
    passphrase: SecretText | None = None


class OAuth2Shape(Shape):
    """``auth`` of a document: an OAuth 2.0 identity."""

    type: Literal["oauth2", "OAuth2", "OAUTH2"] | None = None
    user: Account | None = None
    client_id: Account | None = Field(None, alias="clientId")
    client_secret: SecretText | None = Field(None, alias="clientSecret")
    refresh_token: SecretText | None = Field(None, alias="refreshToken")
    access_token: SecretText | None = Field(None, alias="accessToken")
    expires: Annotated[float, Field(ge=0)] | None = None
    access_url: Url | None = Field(None, alias="accessUrl")
    service_client: Account | None = Field(None, alias="serviceClient")
    private_key: SecretText | PrivateKeyShape | None = Field(None, alias="privateKey")
    scope: Url | None = None
    method: Account | None = None


class ClientKeyShape(Shape):
    """``tls.key`` of a document in its second form."""

    pem: SecretText | None = None
    passphrase: SecretText | None = None


class TlsShape(Shape):
    """``tls`` of a document."""

    reject_unauthorized: bool | None = Field(None, alias="rejectUnauthorized")
    servername: Host | None = None
    min_version: TlsVersionName | None = Field(None, alias="minVersion")
    max_version: TlsVersionName | None = Field(None, alias="maxVersion")
    ciphers: HeaderValue | None = None
    ca: Pem | list[Pem] | None = None
    cert: Pem | list[Pem] | None = None
    key: SecretText | ClientKeyShape | None = None
    passphrase: SecretText | None = None


class TemplateShape(Shape):
    """An item of ``templates`` of a document."""

    usage_type: UsageType | None = Field(None, alias="usageType")
    content_type: Literal["text/plain", "text/html"] | None = Field(None, alias="contentType")
    subject: Subject | None = None
    content: Content | None = None
    text_content: Content | None = Field(None, alias="textContent")
    text: Content | None = None
    reply_to: MailboxText | None = Field(None, alias="replyTo")
    send_from: MailboxText | None = Field(None, alias="sendFrom")
    language_tag: LanguageTag | None = Field(None, alias="languageTag")
    escape: bool | None = None


class DsnShape(Shape):
    """``dsn`` of a document."""

    id: Account | None = None
    envid: Account | None = None
    return_: Account | None = Field(None, alias="return")
    ret: Account | None = None
    notify: Account | list[Account] | None = None
    recipient: MailboxText | None = None
    orcpt: MailboxText | None = None


class OtpShape(Shape):
    """``otp`` of a document."""

    origin: Url | None = None


class DkimKeyShape(Shape):
    """An item of ``dkim.keys`` of a document."""

    domain_name: SigningName | None = Field(None, alias="domainName")
    key_selector: SigningName | None = Field(None, alias="keySelector")
    private_key: SecretText | PrivateKeyShape | None = Field(None, alias="privateKey")


class DkimShape(DkimKeyShape):
    """``dkim`` of a document: one key, or several."""

    keys: DkimKeyShape | Annotated[list[DkimKeyShape], Field(max_length=limits.DKIM_KEYS)] | None = None
    hash_algo: Account | None = Field(None, alias="hashAlgo")
    header_field_names: HeaderValue | None = Field(None, alias="headerFieldNames")
    skip_fields: HeaderValue | None = Field(None, alias="skipFields")


class DocumentShape(Shape):
    """The JSON document: Logto's keys in the order of its form, then those that are read beyond it."""

    host: Host | None = None
    port: Port | PortText | None = None
    auth: dict[str, Any] | None = None  # Any: a union that document.py resolves as Logto does
    from_email: MailboxText | None = Field(None, alias="fromEmail")
    reply_to: MailboxText | None = Field(None, alias="replyTo")
    templates: Annotated[list[TemplateShape], Field(max_length=limits.TEMPLATES)] | None = None
    logger: bool | None = None
    debug: bool | None = None
    disable_file_access: bool | None = Field(None, alias="disableFileAccess")
    disable_url_access: bool | None = Field(None, alias="disableUrlAccess")
    name: Host | None = None
    local_address: Host | None = Field(None, alias="localAddress")
    connection_timeout: Milliseconds | None = Field(None, alias="connectionTimeout")
    greeting_timeout: Milliseconds | None = Field(None, alias="greetingTimeout")
    socket_timeout: Milliseconds | None = Field(None, alias="socketTimeout")
    dns_timeout: Milliseconds | None = Field(None, alias="dnsTimeout")
    secure: bool | None = None
    tls: TlsShape | None = None
    servername: Host | None = None
    ignore_tls: bool | None = Field(None, alias="ignoreTLS")
    require_tls: bool | None = Field(None, alias="requireTLS")
    custom_headers: dict[str, HeaderValue | list[HeaderValue] | None] | None = Field(None, alias="customHeaders")
    service: Host | None = None
    auth_method: Account | None = Field(None, alias="authMethod")
    pool: bool | None = None
    max_connections: Count | None = Field(None, alias="maxConnections")
    max_messages: Count | None = Field(None, alias="maxMessages")
    idle_timeout: Milliseconds | None = Field(None, alias="idleTimeout")
    rate_limit: Count | None = Field(None, alias="rateLimit")
    rate_delta: Annotated[float, Field(ge=0, le=limits.RATE_SECONDS * 1000)] | None = Field(None, alias="rateDelta")
    single_flight: bool | None = Field(None, alias="singleFlight")
    dsn: DsnShape | None = None
    otp: OtpShape | None = None
    dkim: DkimShape | None = None
    username: Account | None = None
    password: SecretText | None = None


class TypedTlsShape(Shape):
    """``TlsOptions`` of the contract."""

    server_name: Host | None = None
    ca_pem: Pem | None = None
    client_cert_pem: Pem | None = None
    client_key_pem: SecretText | None = None
    min_version: Literal["1_2", "1_3"] | None = None
    insecure_skip_verify: bool | None = None
    client_key_passphrase: SecretText | None = None


class TypedLoginShape(Shape):
    """``LoginAuth`` of the contract."""

    user: Account | None = None
    password: SecretText | None = None


class TypedTokenShape(Shape):
    """``OAuth2Token`` of the contract."""

    user: Account | None = None
    access_token: SecretText | None = None


class TypedRefreshTokenShape(Shape):
    """``OAuth2RefreshToken`` of the contract."""

    user: Account | None = None
    client_id: Account | None = None
    client_secret: SecretText | None = None
    refresh_token: SecretText | None = None
    token_url: Url | None = None
    scope: Url | None = None


class TypedServiceAccountShape(Shape):
    """``OAuth2ServiceAccount`` of the contract."""

    user: Account | None = None
    service_client: Account | None = None
    private_key_pem: SecretText | None = None
    private_key_passphrase: SecretText | None = None
    token_url: Url | None = None
    scope: Url | None = None


class TypedClientCredentialsShape(Shape):
    """``OAuth2ClientCredentials`` of the contract."""

    user: Account | None = None
    client_id: Account | None = None
    client_secret: SecretText | None = None
    token_url: Url | None = None
    scope: Url | None = None


class TypedTemplateShape(Shape):
    """``Template`` of the contract."""

    usage_type: UsageType | None = None
    content_type: Literal["text_plain", "text_html"] | None = None
    subject: Subject | None = None
    content: Content | None = None
    text_content: Content | None = None
    reply_to: MailboxText | None = None
    send_from: MailboxText | None = None
    language_tag: LanguageTag | None = None


class TypedHeaderShape(Shape):
    """``Header`` of the contract."""

    name: Account | None = None
    value: HeaderValue | None = None


class TypedShape(Shape):
    """``SmtpConfig`` of the contract: its fields by name, durations in seconds, enum values in lower case."""

    host: Host | None = None
    port: Port | None = None
    tls_mode: Literal["implicit", "starttls_required", "disabled"] | None = None
    tls: TypedTlsShape | None = None
    login: TypedLoginShape | None = None
    oauth2_token: TypedTokenShape | None = None
    oauth2_refresh_token: TypedRefreshTokenShape | None = None
    oauth2_service_account: TypedServiceAccountShape | None = None
    oauth2_client_credentials: TypedClientCredentialsShape | None = None
    from_email: MailboxText | None = None
    reply_to: MailboxText | None = None
    templates: Annotated[list[TypedTemplateShape], Field(max_length=limits.TEMPLATES)] | None = None
    custom_headers: Annotated[list[TypedHeaderShape], Field(max_length=limits.HEADERS)] | None = None
    client_hostname: Host | None = None
    local_address: Host | None = None
    dns_timeout: Seconds | None = None
    connection_timeout: Seconds | None = None
    greeting_timeout: Seconds | None = None
    socket_timeout: Seconds | None = None
