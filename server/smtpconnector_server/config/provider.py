"""What a configuration's provider asks of it: the server behind ``service``, the sender, the pool."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from smtpconnector_server.config.draft import LoginDraft, OAuth2Draft
from smtpconnector_server.config.model import AccessToken, LoginAuth, OAuth2Auth, PoolLimits, TlsMode
from smtpconnector_server.config.presets import AuthKind, find_service, hint_for, service_names
from smtpconnector_server.failure import Reason
from smtpconnector_server.message.address import AddressError, parse_mailbox

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import Draft, Said
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.model import Auth
    from smtpconnector_server.config.presets import Preset

_WORDS: Final = {AuthKind.NONE: "no login", AuthKind.LOGIN: "a login", AuthKind.OAUTH2: "OAuth 2.0"}
_IDLE_SHARE: Final = 0.8
"""Of the provider's idle limit: a connection must not be used in the moment in which it is closed."""


def with_service(draft: Draft, findings: Findings) -> Draft:
    """Return the draft with the server that ``service`` stands for, which wins over what else is said of it."""
    said = draft.service
    if said.value is None:
        return draft
    service = find_service(said.value)
    if service is None:
        near = difflib.get_close_matches(said.value.lower(), service_names(), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Give {draft.host.path} and {draft.port.path} instead."
        say = findings.warning if draft.host.value else findings.error
        say(said.path, "UNKNOWN_SERVICE", f"{said.path} is no known service.", hint)
        # That the host is missing too would only say the same again.
        return draft if draft.host.value else replace(draft, host=replace(draft.host, is_spoilt=True))
    if not service.host:
        return draft if draft.port.value else replace(draft, port=replace(draft.port, value=service.port))
    for other, value in ((draft.host, service.host), (draft.port, service.port)):
        if other.value is not None and other.value != value:
            findings.warning(
                other.path,
                "NO_EFFECT",
                f"{other.path} has no effect beside {said.path}, which means {service.host}:{service.port}.",
                f"Remove {other.path} or {said.path}.",
            )
    mode = service.tls_mode
    return replace(
        draft,
        host=replace(draft.host, value=service.host),
        port=replace(draft.port, value=service.port),
        secure=replace(draft.secure, value=mode is TlsMode.IMPLICIT),
        require_tls=replace(draft.require_tls, value=draft.require_tls.value or mode is TlsMode.STARTTLS_REQUIRED),
        ignore_tls=replace(draft.ignore_tls, value=draft.ignore_tls.value or mode is TlsMode.DISABLED),
    )


def check_account(draft: Draft, auth: Auth | None, preset: Preset, findings: Findings) -> None:
    """Say which credentials and senders the provider will not take."""
    kind = _auth_kind(draft, auth)
    if kind is not None and kind not in preset.auth_kinds:
        findings.warning(
            draft.auth_path,
            "AUTH_KIND_REFUSED",
            f"{preset.display_name} takes {_WORDS[preset.auth_kinds[0]]} only, not {_WORDS[kind]}.",
            hint_for(preset.host, Reason.SMTP_AUTH_FAILED),
        )
    if auth is None or draft.auth is None:
        return
    path = draft.auth.user.path
    if preset.user is not None and auth.user.lower() != preset.user:
        findings.warning(
            path,
            "UNUSUAL_USER",
            f"{preset.display_name} knows the user name {preset.user} only.",
            f"Write {preset.user}; the API key is the password.",
        )
    if preset.sender_is_account:
        _check_sender(draft.from_email, auth.user, path, preset, findings)
    if isinstance(draft.auth, OAuth2Draft) and isinstance(auth, OAuth2Auth):
        _check_token_url(draft.auth.token_url, auth, preset, findings)


def _auth_kind(draft: Draft, auth: Auth | None) -> AuthKind | None:
    """Return how the configuration means to authenticate; None when it cannot be told."""
    if isinstance(auth, LoginAuth):
        return AuthKind.LOGIN
    if isinstance(auth, OAuth2Auth):
        return AuthKind.OAUTH2
    says_nothing = isinstance(draft.auth, LoginDraft) and not (draft.auth.user.is_given or draft.auth.password.is_given)
    return AuthKind.NONE if says_nothing else None


def _check_sender(sender: Said[str], user: str, path: str, preset: Preset, findings: Findings) -> None:
    try:
        address = str(parse_mailbox(sender.value or "").address)
    except AddressError:
        return  # said elsewhere
    if address.lower() != user.lower():
        findings.warning(
            sender.path,
            "SENDER_MISMATCH",
            f"{sender.path} is another address than {path}; {preset.display_name} refuses senders that are not the "
            "account's.",
            "Make them the same, unless the account may send as that address.",
        )


def _check_token_url(said: Said[str], auth: OAuth2Auth, preset: Preset, findings: Findings) -> None:
    if isinstance(auth.source, AccessToken) or not preset.token_hosts:
        return
    if urlsplit(auth.source.token_url).hostname not in preset.token_hosts:
        findings.warning(
            said.path,
            "TOKEN_URL_MISMATCH",
            f"{said.path} is not {preset.display_name}'s, so its tokens will hardly be taken.",
            f"Give the token end point at {preset.token_hosts[0]}.",
        )


def pool_limits(preset: Preset | None) -> PoolLimits:
    """Return how far connections are shared, within what the provider allows."""
    usual = PoolLimits()
    if preset is None:
        return usual
    return PoolLimits(
        max_connections=min(usual.max_connections, preset.max_connections or usual.max_connections),
        max_messages=min(usual.max_messages, preset.max_messages or usual.max_messages),
        idle_seconds=min(usual.idle_seconds, (preset.idle_seconds or usual.idle_seconds / _IDLE_SHARE) * _IDLE_SHARE),
    )
