"""What a configuration's provider asks of it: the server behind ``service``, the sender, the pool."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.model import PoolLimits, TlsMode
from smtpconnector_server.config.presets import find_service, service_names
from smtpconnector_server.message.address import AddressError, parse_mailbox

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import Draft
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.model import Auth
    from smtpconnector_server.config.presets import Preset

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
    """Say what the provider will not take."""
    if auth is None or draft.auth is None:
        return
    user = auth.user
    path = draft.auth.user.path
    if preset.user is not None and user.lower() != preset.user:
        findings.warning(
            path,
            "UNUSUAL_USER",
            f"{preset.display_name} knows the user name {preset.user} only.",
            f"Write {preset.user}; the API key is the password.",
        )
    if preset.sender_is_account and draft.from_email.value is not None:
        try:
            sender = str(parse_mailbox(draft.from_email.value).address)
        except AddressError:
            return
        if sender.lower() != user.lower():
            findings.warning(
                draft.from_email.path,
                "SENDER_MISMATCH",
                f"{draft.from_email.path} is another address than {path}; {preset.display_name} refuses senders that "
                "are not the account's.",
                "Make them the same, unless the account may send as that address.",
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
