"""How a configuration authenticates: whole credentials of one kind, or none."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from smtpconnector_server.config.draft import Grant, LoginDraft, OAuth2Draft, Said
from smtpconnector_server.config.model import (
    AccessToken,
    Auth,
    ClientCredentialsGrant,
    LoginAuth,
    LoginMechanism,
    OAuth2Auth,
    RefreshTokenGrant,
    ServiceAccountGrant,
    TokenMechanism,
    TokenSource,
)
from smtpconnector_server.config.pem import PemError, refuse_slow_encryption
from smtpconnector_server.config.private_key import load_private_key
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.config.token_endpoints import GOOGLE_SCOPE, GOOGLE_TOKEN_URL, MICROSOFT_APPLICATION_SCOPE

if TYPE_CHECKING:
    from enum import Enum
    from typing import TypeVar

    from smtpconnector_server.config.draft import AuthDraft
    from smtpconnector_server.config.finding import Findings

    M = TypeVar("M", bound=Enum)

# NUL ends a field of AUTH PLAIN, 0x01 one of XOAUTH2, CR and LF a command (RFC 4616, RFC 5321).
_FORBIDDEN_IN_USER: Final = re.compile(r"[\x00-\x1f\x7f]")
_FORBIDDEN_IN_PASSWORD: Final = re.compile(r"[\x00\r\n]")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
MICROSOFT_LOGIN: Final = "login.microsoftonline.com"


def read_auth(draft: AuthDraft, findings: Findings) -> Auth | None:
    """Return the credentials, or None for no AUTH or for credentials that cannot be used."""
    if isinstance(draft, LoginDraft):
        return _login(draft, findings)
    return _oauth2(draft, findings)


def _login(draft: LoginDraft, findings: Findings) -> LoginAuth | None:
    user, password = draft.user, draft.password
    mechanism = _mechanism(draft.method, LoginMechanism, findings)
    if user.value is None and password.value is None:
        if not draft.may_be_empty:
            findings.require(user)
            findings.require(password)
        return None
    for said, other in ((user, password), (password, user)):
        if not said.is_given:
            findings.error(
                said.path,
                "HALF_CREDENTIALS",
                f"{other.path} is given, {said.path} is not.",
                f"Give {said.path} too, or leave both out for a server that asks for no login.",
            )
    _check_user(user, findings)
    if password.value is not None and _FORBIDDEN_IN_PASSWORD.search(password.value):
        findings.error(
            password.path,
            "CONTROL_CHARACTER",
            f"{password.path} holds a line break or a NUL.",
            "Copy it without the line's end.",
        )
    _warn_of_space(password, findings)
    if user.value is None or password.value is None:
        return None
    return LoginAuth(user=user.value, password=Secret(password.value), mechanism=mechanism)


def _oauth2(draft: OAuth2Draft, findings: Findings) -> OAuth2Auth | None:
    findings.require(draft.user, "Give the mailbox that the token is for.")
    _check_user(draft.user, findings)
    _check_token(draft.access_token, findings)
    mechanism = _mechanism(draft.method, TokenMechanism, findings)
    source = _token_source(draft, findings)
    if draft.user.value is None or source is None:
        return None
    return OAuth2Auth(user=draft.user.value, source=source, mechanism=mechanism)


def _token_source(draft: OAuth2Draft, findings: Findings) -> TokenSource | None:
    match draft.grant or _inferred_grant(draft):
        case Grant.SERVICE_ACCOUNT:
            return _service_account(draft, findings)
        case Grant.REFRESH_TOKEN:
            return _refresh_token(draft, findings)
        case Grant.ACCESS_TOKEN:
            findings.require(draft.access_token)
            _warn_of_end(draft.expires_at, findings)
            return _access_token(draft)
        case Grant.CLIENT_CREDENTIALS:
            return _client_credentials(draft, findings)
    findings.error(
        draft.access_token.path,
        "MISSING_FIELD",
        "There is nothing to get an access token by.",
        f"Give {draft.refresh_token.path} with {draft.client_id.path}, or {draft.service_client.path} with "
        f"{draft.private_key.path}, or {draft.access_token.path}.",
    )
    return None


def _inferred_grant(draft: OAuth2Draft) -> Grant | None:
    if draft.service_client.is_given or draft.private_key.is_given:
        return Grant.SERVICE_ACCOUNT
    if draft.refresh_token.is_given:
        return Grant.REFRESH_TOKEN
    if draft.access_token.is_given:
        return Grant.ACCESS_TOKEN
    return Grant.CLIENT_CREDENTIALS if draft.client_secret.is_given else None


def _service_account(draft: OAuth2Draft, findings: Findings) -> ServiceAccountGrant | None:
    findings.require(draft.service_client)
    findings.require(draft.private_key)
    token_url = _token_url(draft.token_url, findings)
    key, passphrase = draft.private_key, draft.private_key_passphrase
    if key.value is not None:
        try:
            refuse_slow_encryption(key.value)
            load_private_key(Secret(key.value), Secret(passphrase.value) if passphrase.value else None)
        except PemError as error:
            findings.error(key.path, error.reason, f"{key.path} {error.message}.", error.hint)
        except ValueError as error:
            findings.error(key.path, "INVALID_PRIVATE_KEY", f"{key.path} {error}.")
    if draft.service_client.value is None or key.value is None or token_url is None:
        return None
    return ServiceAccountGrant(
        service_client=draft.service_client.value,
        private_key_pem=Secret(key.value),
        private_key_passphrase=Secret(passphrase.value) if passphrase.value else None,
        token_url=token_url,
        scope=draft.scope.value or GOOGLE_SCOPE,
    )


def _refresh_token(draft: OAuth2Draft, findings: Findings) -> RefreshTokenGrant | None:
    findings.require(draft.client_id)
    findings.require(draft.refresh_token)
    token_url = _token_url(draft.token_url, findings)
    if draft.refresh_token.value is None or draft.client_id.value is None or token_url is None:
        return None
    return RefreshTokenGrant(
        client_id=draft.client_id.value,
        client_secret=Secret(draft.client_secret.value) if draft.client_secret.value else None,
        refresh_token=Secret(draft.refresh_token.value),
        token_url=token_url,
        scope=draft.scope.value,
        access_token=_access_token(draft),
    )


def _client_credentials(draft: OAuth2Draft, findings: Findings) -> ClientCredentialsGrant | None:
    """Read Microsoft's way for applications: nodemailer has no grant that lacks a refresh token."""
    findings.require(draft.client_id)
    findings.require(draft.client_secret)
    findings.require(draft.token_url)
    token_url = _token_url(draft.token_url, findings)
    scope = draft.scope.value
    if scope is None and token_url is not None and urlsplit(token_url).hostname == MICROSOFT_LOGIN:
        scope = MICROSOFT_APPLICATION_SCOPE
    if scope is None:
        findings.require(draft.scope)
    if draft.client_id.value is None or draft.client_secret.value is None or token_url is None or scope is None:
        return None
    return ClientCredentialsGrant(
        client_id=draft.client_id.value,
        client_secret=Secret(draft.client_secret.value),
        token_url=token_url,
        scope=scope,
    )


def _access_token(draft: OAuth2Draft) -> AccessToken | None:
    if draft.access_token.value is None:
        return None
    return AccessToken(token=Secret(draft.access_token.value), expires_at=draft.expires_at.value or None)


def _warn_of_end(expires_at: Said[float], findings: Findings) -> None:
    if expires_at.value and expires_at.value < time.time():
        findings.warning(
            expires_at.path,
            "TOKEN_EXPIRED",
            f"The access token has ended, says {expires_at.path}, and there is nothing to get another one by.",
            "Give a fresh token, or better a refresh token.",
        )


def _check_user(user: Said[str], findings: Findings) -> None:
    if user.value is not None and _FORBIDDEN_IN_USER.search(user.value):
        findings.error(user.path, "CONTROL_CHARACTER", f"{user.path} holds a line break or another control character.")
    _warn_of_space(user, findings)


def _warn_of_space(said: Said[str], findings: Findings) -> None:
    if said.value is not None and said.value != said.value.strip():
        findings.warning(
            said.path,
            "SURROUNDING_SPACE",
            f"{said.path} begins or ends with white space, which is sent as it is.",
            "If it came from the clipboard, remove it.",
        )


def _check_token(token: Said[str], findings: Findings) -> None:
    if token.value is not None and not _TOKEN.fullmatch(token.value):
        findings.error(
            token.path,
            "CONTROL_CHARACTER",
            f"{token.path} holds white space or characters beyond ASCII, which no token has.",
            "Copy it anew, as one line.",
        )


def _token_url(said: Said[str], findings: Findings) -> str | None:
    if said.is_spoilt:
        return None
    if said.value is None:
        return GOOGLE_TOKEN_URL
    fault = _url_fault(said.value)
    if fault:
        hint = f"Give the token end point, such as {GOOGLE_TOKEN_URL}."
        findings.error(said.path, "INVALID_URL", f"{said.path} {fault}.", hint)
        return None
    return said.value


def _url_fault(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        return "holds white space or characters beyond ASCII"
    try:
        url = urlsplit(text)
        port_is_good = url.port != 0
    except ValueError:
        return "is not a URL"
    if url.scheme != "https":
        return "must begin with https://, because the secrets go there"
    if not url.hostname or not port_is_good:
        return "names no host"
    if url.username is not None or url.password is not None:
        return "holds credentials"
    return "holds a fragment" if url.fragment else ""


def _mechanism(method: Said[str], kind: type[M], findings: Findings) -> M | None:
    if method.value is None:
        return None
    name = method.value.strip().upper()
    for mechanism in kind:
        if mechanism.value == name:
            return mechanism
    names = ", ".join(mechanism.value for mechanism in kind)
    findings.error(
        method.path,
        "INVALID_VALUE",
        f"{method.path} must be one of {names} for these credentials.",
        f"Leave {method.path} out: the best that the server offers is taken.",
    )
    return None
