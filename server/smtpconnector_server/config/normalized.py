"""A configuration written back as a document, with every default filled in and every secret masked.

It is a valid document again, but for the masked values: a mask shows that a secret is there without telling it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.config.model import (
    AccessToken,
    ClientCredentialsGrant,
    LoginAuth,
    OAuth2Auth,
    RefreshTokenGrant,
    ServiceAccountGrant,
    TlsMode,
)
from smtpconnector_server.config.tls import IMPLICIT_PORT
from smtpconnector_server.message.template import ContentType

if TYPE_CHECKING:
    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.model import Auth, Connector, Dkim, Dsn, Server, TlsOptions
    from smtpconnector_server.message.address import Mailbox
    from smtpconnector_server.message.template import Template

MASK: Final = "***"
_MILLISECONDS: Final = 1000


def normalized(connector: Connector) -> dict[str, Json]:
    """Return the document that means the same as the configuration, its secrets masked.

    Values of custom headers count as secrets: some providers take API keys in them.
    """
    server = connector.server
    return _without_absent(
        {
            "host": server.host,
            "port": server.port,
            "auth": _auth(server.auth),
            "fromEmail": _mailbox(connector.from_email),
            "replyTo": ", ".join(map(_mailbox, connector.reply_to)) or None,
            "templates": [_template(template) for template in connector.templates],
            "name": server.client_hostname,
            "localAddress": server.local_address,
            "connectionTimeout": _milliseconds(server.timeouts.connection),
            "greetingTimeout": _milliseconds(server.timeouts.greeting),
            "socketTimeout": _milliseconds(server.timeouts.socket),
            "dnsTimeout": _milliseconds(server.timeouts.dns),
            **_tls_switches(server),
            "tls": _tls(server.tls),
            "customHeaders": _headers(connector.custom_headers),
            "maxConnections": server.pool.max_connections,
            "maxMessages": server.pool.max_messages,
            "idleTimeout": _milliseconds(server.pool.idle_seconds),
            "rateLimit": server.pool.rate_limit,
            "rateDelta": _milliseconds(server.pool.rate_seconds) if server.pool.rate_limit else None,
            "singleFlight": server.single_flight,
            "debug": server.transcript or None,
            "dsn": _dsn(connector.dsn) if connector.dsn else None,
            "dkim": _dkim(connector.dkim) if connector.dkim else None,
            "otp": {"origin": connector.otp_origin} if connector.otp_origin else None,
        }
    )


def _auth(auth: Auth | None) -> dict[str, Json]:
    if auth is None:
        return {}
    method = auth.mechanism.value if auth.mechanism else None
    if isinstance(auth, LoginAuth):
        return _without_absent({"type": "login", "user": auth.user, "pass": MASK, "method": method})
    return _without_absent({"type": "OAuth2", "user": auth.user, **_token_source(auth), "method": method})


def _token_source(auth: OAuth2Auth) -> dict[str, Json]:
    match auth.source:
        case AccessToken() as token:
            return _access_token(token)
        case RefreshTokenGrant() as grant:
            return {
                "clientId": grant.client_id,
                "clientSecret": MASK if grant.client_secret else None,
                "refreshToken": MASK,
                "accessUrl": _without_query(grant.token_url),
                "scope": grant.scope,
                **(_access_token(grant.access_token) if grant.access_token else {}),
            }
        case ServiceAccountGrant() as grant:
            key: Json = {"key": MASK, "passphrase": MASK} if grant.private_key_passphrase else MASK
            return {
                "serviceClient": grant.service_client,
                "privateKey": key,
                "accessUrl": _without_query(grant.token_url),
                "scope": grant.scope,
            }
        case ClientCredentialsGrant() as grant:
            return {
                "clientId": grant.client_id,
                "clientSecret": MASK,
                "accessUrl": _without_query(grant.token_url),
                "scope": grant.scope,
            }


def _access_token(token: AccessToken) -> dict[str, Json]:
    return {"accessToken": MASK, "expires": _milliseconds(token.expires_at) if token.expires_at else None}


def _tls_switches(server: Server) -> dict[str, Json]:
    match server.tls_mode:
        case TlsMode.IMPLICIT:
            return {"secure": True}
        case TlsMode.STARTTLS_REQUIRED:
            return {"secure": False, "requireTLS": True}
        case TlsMode.DISABLED:
            return {"secure": False, "ignoreTLS": True}
        case TlsMode.STARTTLS_OFFERED:
            return {"secure": False} if server.port == IMPLICIT_PORT else {}


def _tls(options: TlsOptions) -> dict[str, Json]:
    return _without_absent(
        {
            "rejectUnauthorized": options.verify,
            "servername": options.server_name,
            "minVersion": options.min_version.value,
            "maxVersion": options.max_version.value if options.max_version else None,
            "ciphers": options.ciphers,
            "ca": options.ca_pem,
            "cert": options.client_cert_pem,
            "key": MASK if options.client_key_pem else None,
            "passphrase": MASK if options.client_key_passphrase else None,
        }
    )


def _template(template: Template) -> dict[str, Json]:
    return _without_absent(
        {
            "usageType": template.usage_type,
            "contentType": template.content_type.value,
            "subject": template.subject,
            "content": template.content,
            "textContent": template.text_content,
            "replyTo": template.reply_to,
            "sendFrom": template.send_from,
            "languageTag": template.language_tag,
            "escape": None if template.content_type is ContentType.PLAIN or template.escape else False,
        }
    )


def _headers(headers: tuple[tuple[str, str], ...]) -> dict[str, Json]:
    counts: dict[str, int] = {}
    for name, _ in headers:
        counts[name] = counts.get(name, 0) + 1
    return {name: MASK if count == 1 else [MASK] * count for name, count in counts.items()}


def _dsn(dsn: Dsn) -> dict[str, Json]:
    return _without_absent(
        {
            "id": dsn.envelope_id,
            "return": dsn.returned.value if dsn.returned else None,
            "notify": [event.value for event in dsn.notify] or None,
            "recipient": dsn.original_recipient,
        }
    )


def _dkim(dkim: Dkim) -> dict[str, Json]:
    keys = [{"domainName": key.domain, "keySelector": key.selector, "privateKey": MASK} for key in dkim.keys]
    names = {"headerFieldNames": ":".join(dkim.header_names), "skipFields": ":".join(dkim.skipped_names)}
    return {"keys": keys, **{key: text for key, text in names.items() if text}}


def _mailbox(mailbox: Mailbox) -> str:
    if not mailbox.name:
        return str(mailbox.address)
    name = mailbox.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{mailbox.address}>'


def _milliseconds(seconds: float) -> int | float:
    milliseconds = round(seconds * _MILLISECONDS, 3)
    return int(milliseconds) if milliseconds.is_integer() else milliseconds


def _without_absent(members: dict[str, Any]) -> dict[str, Json]:
    return {key: value for key, value in members.items() if value is not None}


def _without_query(url: str) -> str:
    """Return a URL with its query masked: some end points take keys in it."""
    address, mark, _ = url.partition("?")
    return f"{address}{mark}{MASK}" if mark else url
