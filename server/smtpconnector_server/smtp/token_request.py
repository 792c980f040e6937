"""What is sent to a token end point: a grant as a form (RFC 6749), a service account's signed by its key (RFC 7523).

Pure, but a signature takes milliseconds of CPU: the event loop should not wait for it.
"""

from __future__ import annotations

from typing import Final, TypeAlias, assert_never

from smtpconnector_server.config.model import ClientCredentialsGrant, RefreshTokenGrant, ServiceAccountGrant
from smtpconnector_server.config.private_key import load_private_key

Grant: TypeAlias = RefreshTokenGrant | ServiceAccountGrant | ClientCredentialsGrant

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_SECONDS: Final = 300
"""Long enough for one request; Google takes up to an hour."""
_CLOCK_SKEW_SECONDS: Final = 30
"""An assertion from the future is refused, so one is dated back by how far clocks may differ."""


def token_form(grant: Grant, *, user: str, now: float) -> dict[str, str]:
    """Return the form that asks for an access token.

    Args:
        grant: What entitles us to one.
        user: The mailbox that it is for; only a service account has to say so.
        now: Seconds since the epoch.

    Raises:
        ValueError: The private key cannot be used; the text says why.
    """
    match grant:
        case RefreshTokenGrant():
            form = {"client_id": grant.client_id}
            if grant.client_secret:
                form["client_secret"] = grant.client_secret.reveal()
            form |= {"refresh_token": grant.refresh_token.reveal(), "grant_type": "refresh_token"}
            if grant.scope:
                form["scope"] = grant.scope
            return form
        case ClientCredentialsGrant():
            return {
                "client_id": grant.client_id,
                "client_secret": grant.client_secret.reveal(),
                "grant_type": "client_credentials",
                "scope": grant.scope,
            }
        case ServiceAccountGrant():
            return {"grant_type": _JWT_BEARER, "assertion": _assertion(grant, user=user, now=int(now))}
        case _:
            assert_never(grant)


def _assertion(grant: ServiceAccountGrant, *, user: str, now: int) -> str:
    import jwt  # noqa: PLC0415 - 100 ms that a service without service accounts need not pay when it starts

    issued_at = now - _CLOCK_SKEW_SECONDS
    claims = {
        "iss": grant.service_client,
        "scope": grant.scope,
        "sub": user,
        "aud": grant.token_url,
        "iat": issued_at,
        "exp": now + _ASSERTION_SECONDS,
    }
    return jwt.encode(claims, load_private_key(grant.private_key_pem, grant.private_key_passphrase), algorithm="RS256")
