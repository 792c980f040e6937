"""Access tokens for AUTH: fetched when there is none, kept until shortly before they expire, renewed once when refused.

Two invariants: no token is handed out after its expiry, and at most one request per credential is on its way, whatever
becomes of those who wait for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from smtpconnector_server.config.model import AccessToken, OAuth2Auth, RefreshTokenGrant, ServiceAccountGrant
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.events import TokenRenewed, tell_nobody
from smtpconnector_server.smtp.token_request import Grant, token_form
from smtpconnector_server.smtp.token_response import HttpAnswer, IssuedToken, read_answer, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpconnector_server.config.secret import Secret
    from smtpconnector_server.smtp.events import WireHook

_MAX_CREDENTIALS: Final = 1024
_MIN_MARGIN_SECONDS: Final = 60.0
_MARGIN_SHARE: Final = 0.1
"""Of its lifetime. Exchange Online has been seen to refuse tokens minutes before their end."""
_YOUNG_SECONDS: Final = 5.0
"""A younger token is refused for another reason than its age."""


class PostForm(Protocol):
    """The port to HTTP."""

    async def __call__(self, url: str, form: Mapping[str, str]) -> HttpAnswer:
        """POST a form and return the answer, whatever its status.

        Raises:
            Failure: There is no answer, or policy refuses the target.
        """
        ...


@dataclass(frozen=True, slots=True)
class RefreshTokenRotated:
    """A token end point replaced a refresh token: the one in the configuration may soon be worth nothing."""

    client_id: str
    token_url: str
    refresh_token: Secret
    """The new one."""


@dataclass(frozen=True, slots=True)
class _Token:
    secret: Secret
    issued_at: float
    renew_at: float
    expires_at: float


_Key: TypeAlias = tuple[str, Grant]


@dataclass(slots=True, eq=False)
class _Credential:
    """A grant as it stands after rotations, the last token that it gave, and the request under way for the next."""

    user: str
    grant: Grant
    token: _Token | None
    is_rotated: bool = False
    renewal: asyncio.Task[_Token | Failure] | None = None
    held_off_until: float = -math.inf
    """Until then the end point asked to be left alone."""


class TokenCache:
    """The access tokens of all credentials.

    Args:
        post: How to reach token end points.
        clock: Seconds since the epoch.
        on_rotation: Told of every new refresh token. Here it lives in memory only, so whoever can should store it.
        hook: Told of every renewal.
        max_credentials: Beyond it, the tokens that are cheapest to lose are forgotten.
    """

    def __init__(
        self,
        post: PostForm,
        *,
        clock: Callable[[], float] = time.time,
        on_rotation: Callable[[RefreshTokenRotated], None] = lambda _: None,
        hook: WireHook = tell_nobody,
        max_credentials: int = _MAX_CREDENTIALS,
    ) -> None:
        self._post = post
        self._clock = clock
        self._on_rotation = on_rotation
        self._hook = hook
        self._max_credentials = max_credentials
        self._credentials: OrderedDict[_Key, _Credential] = OrderedDict()

    async def token(self, auth: OAuth2Auth, *, renew: bool) -> Secret:
        """Return an access token that has not expired.

        Cancelling the call does not cancel the request for others who wait for the same token.

        Args:
            auth: The mailbox and where its tokens come from.
            renew: The SMTP server refused the last one: return another one. It is the same one where there is no
                other, and where the last was issued a moment ago: it may have come after the refused one, and if not,
                a newer one would be refused too.

        Raises:
            Failure: There is none.
        """
        if isinstance(auth.source, AccessToken):
            return self._ready(auth.source)
        credential = self._credential(auth.user, auth.source)
        held = credential.token
        if renew and held is not None and self._clock() - held.issued_at >= _YOUNG_SECONDS:
            credential.token = held = None
        if held is not None and self._clock() < held.renew_at:
            return held.secret
        try:
            return (await self._renewed(credential)).secret
        except Failure as failure:
            is_outage = failure.reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
            if is_outage and held is not None and self._clock() < held.expires_at:
                return held.secret
            raise

    async def aclose(self) -> None:
        """Cancel the requests under way; whoever waits for one gets SHUTTING_DOWN."""
        renewals = [credential.renewal for credential in self._credentials.values() if credential.renewal is not None]
        for renewal in renewals:
            renewal.cancel()
        await asyncio.gather(*renewals, return_exceptions=True)

    def _ready(self, source: AccessToken) -> Secret:
        if source.expires_at is not None and source.expires_at <= self._clock():
            raise Failure(
                Reason.OAUTH2_TOKEN_REJECTED,
                "The access token has expired; configure a new one, or a grant that can renew it.",
                stage=Stage.TOKEN,
            )
        return source.token

    def _credential(self, user: str, grant: Grant) -> _Credential:
        """Find the credential, or enter it with the token that its configuration brought."""
        key = _key(user, grant)
        credential = self._credentials.get(key)
        if credential is None:
            self._make_room()
            credential = self._credentials[key] = _Credential(user, grant, _first_token(grant))
        self._credentials.move_to_end(key)
        return credential

    def _make_room(self) -> None:
        """Evict what is cheapest to lose: a credential without a token first, a rotated one last, then by last use."""
        if len(self._credentials) < self._max_credentials:
            return
        idle = [(key, credential) for key, credential in self._credentials.items() if credential.renewal is None]
        if idle:
            key, _ = min(idle, key=lambda entry: (entry[1].is_rotated, entry[1].token is not None))
            del self._credentials[key]

    async def _renewed(self, credential: _Credential) -> _Token:
        """Wait for the renewal under way, or for a new one."""
        if credential.renewal is None:
            if (pause := credential.held_off_until - self._clock()) > 0:
                raise unavailable("asked to be left alone for a while", retry_after=pause)
            credential.renewal = asyncio.create_task(self._renew(credential), name="oauth2-token-renewal")
        renewal = credential.renewal
        # Neither awaited nor shielded: a wait leaves the task alone when the waiting caller is cancelled, and tells
        # the cancellation of the task from that of the caller.
        await asyncio.wait({renewal})
        if renewal.cancelled():
            raise Failure(Reason.SHUTTING_DOWN, "The service is shutting down.", stage=Stage.TOKEN)
        end = renewal.result()
        if isinstance(end, Failure):
            # One for each who waits: a raised exception belongs to one call (its traceback, its count of attempts).
            raise Failure(
                end.reason,
                end.message,
                stage=end.stage,
                violations=end.violations,
                host=end.host,
                retry_after=end.retry_after,
            )
        return end

    async def _renew(self, credential: _Credential) -> _Token | Failure:
        asked_at, began = self._clock(), time.monotonic()
        try:
            issued = await self._fetch(credential, asked_at)
            self._rotate(credential, issued.refresh_token)
            if asked_at + issued.lifetime <= self._clock():
                raise unavailable("issued a token that has expired already")
        except Failure as failure:
            if failure.retry_after is not None:
                credential.held_off_until = self._clock() + failure.retry_after
            self._hook(TokenRenewed(credential.grant.token_url, time.monotonic() - began, failure))
            return failure
        finally:
            credential.renewal = None
        credential.token = _token(issued, asked_at)
        self._hook(TokenRenewed(credential.grant.token_url, time.monotonic() - began, None))
        return credential.token

    async def _fetch(self, credential: _Credential, now: float) -> IssuedToken:
        grant, user = credential.grant, credential.user
        try:
            if isinstance(grant, ServiceAccountGrant):
                # Opening the key and signing takes 30 to 200 ms of CPU.
                form = await asyncio.to_thread(token_form, grant, user=user, now=now)
            else:
                form = token_form(grant, user=user, now=now)
        except ValueError as error:
            fault = f"The private key of the service account {error}."
            raise Failure(Reason.INVALID_CONFIG, fault, stage=Stage.TOKEN) from None
        answer = await self._post(grant.token_url, form)
        return read_answer(answer, sent=form.values(), now=now)

    def _rotate(self, credential: _Credential, refresh_token: Secret | None) -> None:
        grant = credential.grant
        if refresh_token is None or not isinstance(grant, RefreshTokenGrant) or refresh_token == grant.refresh_token:
            return
        credential.grant = replace(grant, refresh_token=refresh_token)
        credential.is_rotated = True
        self._on_rotation(RefreshTokenRotated(grant.client_id, grant.token_url, refresh_token))


def _key(user: str, grant: Grant) -> _Key:
    """What makes two configurations the same credential: neither its first token nor, but for the JWT, its mailbox."""
    match grant:
        case ServiceAccountGrant():
            return user, grant
        case RefreshTokenGrant():
            return "", replace(grant, access_token=None)
        case _:
            return "", grant


def _first_token(grant: Grant) -> _Token | None:
    if not isinstance(grant, RefreshTokenGrant) or grant.access_token is None:
        return None
    expires_at = math.inf if grant.access_token.expires_at is None else grant.access_token.expires_at
    return _Token(grant.access_token.token, -math.inf, expires_at - _MIN_MARGIN_SECONDS, expires_at)


def _token(issued: IssuedToken, asked_at: float) -> _Token:
    margin = min(max(_MIN_MARGIN_SECONDS, issued.lifetime * _MARGIN_SHARE), issued.lifetime / 2)
    expires_at = asked_at + issued.lifetime
    return _Token(issued.access_token, asked_at, expires_at - margin, expires_at)
