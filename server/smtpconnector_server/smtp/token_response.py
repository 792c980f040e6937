"""What a token end point answers: an access token, or why there is none (RFC 6749, section 5).

The answer comes from outside and may echo what we sent: of its text nothing but an error code in a narrow alphabet
ever reaches a failure's message.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Reason, Stage

if TYPE_CHECKING:
    from collections.abc import Collection

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""Anything else would end a field of XOAUTH2 or a line of SMTP (RFC 6749, appendix A.12, without the space)."""
_ERROR_CODE: Final = re.compile(r"[A-Za-z_]{1,40}")
_MICROSOFT_CODE: Final = re.compile(r"AADSTS[0-9]{4,10}")
_SECONDS: Final = re.compile(r"[0-9]{1,9}")

_UNKNOWN_LIFETIME_SECONDS: Final = 300.0
_MAX_LIFETIME_SECONDS: Final = 86400.0
_MAX_RETRY_AFTER_SECONDS: Final = 3600.0

_TRANSIENT_STATUSES: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_TRANSIENT_ERRORS: Final = {"temporarily_unavailable", "server_error", "slow_down"}
_HINTS: Final = {
    "invalid_grant": "the refresh token expired or was revoked, or the service account's key, user or clock is wrong",
    "invalid_client": "check the client's ID and secret; a secret may have expired",
    "unauthorized_client": "allow the client this grant and scope (for a service account: domain-wide delegation)",
    "invalid_scope": "check the scope",
    "invalid_request": "check the client's ID, the scope and the token URL",
    "unsupported_grant_type": "check the token URL: this end point knows no such grant",
    "interaction_required": "the user has to sign in again; obtain a new refresh token",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP response, as far as a token request cares."""

    status: int
    body: bytes
    retry_after: str = ""
    """The field ``Retry-After`` as it came."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A successful answer."""

    access_token: Secret
    lifetime: float
    """Seconds from the request on; a cautious guess where the end point does not say."""
    refresh_token: Secret | None
    """The one to use from now on. None: the old one stays."""


def read_answer(answer: HttpAnswer, *, sent: Collection[str], now: float) -> IssuedToken:
    """Return the token of an answer.

    Args:
        answer: The end point's.
        sent: The values of the request; an error code that is part of one is not passed on.
        now: Seconds since the epoch.

    Raises:
        Failure: OAUTH2_TOKEN_REJECTED if the end point refuses the credentials, OAUTH2_ENDPOINT_UNAVAILABLE if it is
            busy or talks nonsense.
    """
    document = _parse(answer.body)
    error = document.get("error")
    if answer.status in _TRANSIENT_STATUSES or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise unavailable(f"answered HTTP {answer.status}", retry_after=_retry_after(answer.retry_after, now))
    if isinstance(error, str) and error in _TRANSIENT_ERRORS:
        raise unavailable(f"answered {error}", retry_after=_retry_after(answer.retry_after, now))
    if answer.status >= HTTPStatus.BAD_REQUEST or error:
        raise _rejected(answer.status, document, sent)
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise unavailable(
            f"answered with a redirect (HTTP {answer.status}), which is never followed; check the token URL"
        )
    access_token = document.get("access_token")
    if not isinstance(access_token, str) or not _TOKEN.fullmatch(access_token):
        raise unavailable(f"answered HTTP {answer.status} without an access token; check the token URL")
    if str(document.get("token_type", "bearer")).lower() != "bearer":
        raise unavailable("issued a token that is not a bearer token; check the token URL")
    refresh_token = document.get("refresh_token")
    return IssuedToken(
        access_token=Secret(access_token),
        lifetime=_lifetime(document.get("expires_in")),
        refresh_token=Secret(refresh_token) if isinstance(refresh_token, str) and refresh_token else None,
    )


def unavailable(what: str, *, retry_after: float | None = None) -> Failure:
    """Return the failure of an end point that gave no usable answer.

    Args:
        what: What it did, without its subject.
        retry_after: Seconds after which a retry makes sense.
    """
    return Failure(
        Reason.OAUTH2_ENDPOINT_UNAVAILABLE,
        f"The OAuth 2.0 token end point {what}.",
        stage=Stage.TOKEN,
        retry_after=retry_after,
    )


def _rejected(status: int, document: dict[str, object], sent: Collection[str]) -> Failure:
    error, description = document.get("error"), document.get("error_description")
    codes = []
    if isinstance(error, str) and _ERROR_CODE.fullmatch(error) and not any(error in value for value in sent):
        codes.append(error)
    if isinstance(description, str) and (match := _MICROSOFT_CODE.match(description)):
        codes.append(match[0])
    if codes:
        what = f"refused the credentials ({', '.join(codes)})"
    elif error:
        what = "refused the credentials"
    else:
        what = f"answered HTTP {status} without an OAuth 2.0 error"
    hint = _HINTS.get(codes[0] if codes else "", "check the token URL and the credentials")
    return Failure(Reason.OAUTH2_TOKEN_REJECTED, f"The OAuth 2.0 token end point {what}: {hint}.", stage=Stage.TOKEN)


def _parse(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _lifetime(expires_in: object) -> float:
    """Read ``expires_in``, which some end points write as a string."""
    if isinstance(expires_in, str) and _SECONDS.fullmatch(expires_in):
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return _UNKNOWN_LIFETIME_SECONDS
    return float(min(max(0, expires_in), _MAX_LIFETIME_SECONDS))


def _retry_after(value: str, now: float) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3)."""
    if _SECONDS.fullmatch(value):
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)
