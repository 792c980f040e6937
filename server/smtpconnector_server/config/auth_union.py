"""``auth`` of a document: a union without a tag, read as Logto's guard and nodemailer read it.

A login may have no other keys when it says ``type``, or has no ``user``; the guard is strict there. ``type`` may be
missing with OAuth 2.0 too: nodemailer would then try a login without a password, here the keys say what is meant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.draft import LoginDraft, OAuth2Draft, Said
from smtpconnector_server.config.options import report_other_keys
from smtpconnector_server.config.shape import LoginShape, OAuth2Shape, PrivateKeyShape

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import AuthDraft
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.config.intake import Json
    from smtpconnector_server.config.shape import DkimKeyShape, DkimShape, DocumentShape
    from smtpconnector_server.config.structure import Section

LOGIN_TYPES: Final = ("login", "Login", "LOGIN")
OAUTH2_TYPES: Final = ("oauth2", "OAuth2", "OAUTH2")
_OAUTH2_KEYS: Final = ("serviceClient", "privateKey", "clientId", "clientSecret", "refreshToken", "accessToken")
_MILLISECONDS: Final = 1000


def read_auth_union(document: Section[DocumentShape], method: Said[str], findings: Findings) -> AuthDraft | None:
    """Return what kind of credentials ``auth`` holds, or None when it cannot be told.

    Args:
        document: The document, which has ``auth``.
        method: What was said outside of it of the mechanism; ``method`` inside wins.
        findings: Where faults go.
    """
    value, path = document.shape.auth or {}, document.key_path("auth")
    kind = value.get("type")
    if kind in OAUTH2_TYPES:
        return _oauth2(document.read_item(OAuth2Shape, value, path, findings), method, findings)
    if kind is None and not _has(value, "pass") and any(_has(value, key) for key in _OAUTH2_KEYS):
        return _oauth2(document.read_item(OAuth2Shape, value, path, findings), method, findings)
    if kind is None or kind in LOGIN_TYPES:
        return _login(document.read_item(LoginShape, value, path, findings), method, findings)
    hint = f"Write {LOGIN_TYPES[0]} or OAuth2, or leave it out."
    if isinstance(kind, str) and kind.lower() in (LOGIN_TYPES[0], OAUTH2_TYPES[0]):
        hint = f"Write {kind.lower()}: other mixtures of capitals are refused, as by Logto."
    findings.error(f"{path}.type", "INVALID_VALUE", f"{path}.type is no kind of credentials.", hint)
    return None


def _login(section: Section[LoginShape], method: Said[str], findings: Findings) -> LoginDraft:
    is_strict = section.shape.type is not None or section.said("user").value is None
    report_other_keys(section, findings, are_errors=is_strict)
    return LoginDraft(
        user=section.said("user"), password=section.said("password"), method=_method(section.said("method"), method)
    )


def _oauth2(section: Section[OAuth2Shape], method: Said[str], findings: Findings) -> OAuth2Draft:
    report_other_keys(section, findings)
    key, passphrase = read_private_key(section, findings)
    expires = section.said("expires")
    if expires.value is not None:
        expires = replace(expires, value=expires.value / _MILLISECONDS)
    return OAuth2Draft(
        grant=None,
        user=section.said("user"),
        access_token=section.said("access_token"),
        expires_at=expires,
        client_id=section.said("client_id"),
        client_secret=section.said("client_secret"),
        refresh_token=section.said("refresh_token"),
        service_client=section.said("service_client"),
        private_key=key,
        private_key_passphrase=passphrase,
        token_url=section.said("access_url"),
        scope=section.said("scope"),
        method=_method(section.said("method"), method),
    )


def read_private_key(
    section: Section[OAuth2Shape] | Section[DkimKeyShape] | Section[DkimShape], findings: Findings
) -> tuple[Said[str], Said[str]]:
    """Return the private key of an object and its passphrase: text alone, or both in an object."""
    key = section.said("private_key")
    if not isinstance(key.value, PrivateKeyShape):
        return key, Said(f"{key.path}.passphrase")
    inner = section.item(key.value, key.path)
    report_other_keys(inner, findings)
    findings.require(inner.said("key"))
    return inner.said("key"), inner.said("passphrase")


def _has(value: dict[str, Json], key: str) -> bool:
    return value.get(key) not in (None, "")


def _method(inner: Said[str], outer: Said[str]) -> Said[str]:
    return inner if inner.is_given else outer
