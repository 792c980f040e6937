"""Which token is handed out, when one is fetched, and by how many requests."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smtpconnector_server.config.model import (
    AccessToken,
    ClientCredentialsGrant,
    OAuth2Auth,
    RefreshTokenGrant,
    ServiceAccountGrant,
    TokenMechanism,
)
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.oauth2 import RefreshTokenRotated, TokenCache
from smtpconnector_server.smtp.token_response import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

URL = "https://tokens.example.com/token"
GRANT = RefreshTokenGrant(
    client_id="id", client_secret=Secret("canary-secret"), refresh_token=Secret("canary-refresh"), token_url=URL
)
AUTH = OAuth2Auth(user="a@example.com", source=GRANT)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Endpoint:
    """An end point in memory: numbered tokens, unless an answer was scripted. `open` cleared holds the answers back."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.script: list[HttpAnswer | Failure] = []
        self.lifetime = 3600
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def __call__(self, url: str, form: Mapping[str, str]) -> HttpAnswer:
        assert url == URL
        self.forms.append(dict(form))
        self.asked.set()
        await self.open.wait()
        answer = self.script.pop(0) if self.script else issued(f"token-{len(self.forms)}", expires_in=self.lifetime)
        if isinstance(answer, Failure):
            raise answer
        return answer


def issued(access_token: str, **fields: object) -> HttpAnswer:
    return HttpAnswer(200, json.dumps({"access_token": access_token, **fields}).encode())


def refusal(error: str = "invalid_grant") -> HttpAnswer:
    return HttpAnswer(400, json.dumps({"error": error}).encode())


BUSY = HttpAnswer(503, b"")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def tokens(endpoint: Endpoint, clock: Clock) -> TokenCache:
    return TokenCache(endpoint, clock=clock)


async def failure_of(call: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        await call
    assert caught.value.stage is Stage.TOKEN
    return caught.value


async def waiting(endpoint: Endpoint, *calls: Any) -> list[asyncio.Task[Secret]]:
    """Start the calls and return once the first of them has reached the end point that holds them back."""
    tasks = [asyncio.create_task(call) for call in calls]
    await endpoint.asked.wait()
    return tasks


async def test_a_token_is_fetched_once_and_kept(tokens: TokenCache, endpoint: Endpoint) -> None:
    assert [await tokens.token(AUTH, renew=False) for _ in range(3)] == [Secret("token-1")] * 3
    assert len(endpoint.forms) == 1


@pytest.mark.parametrize(("lifetime", "renewed_after"), [(3600, 3240), (86400, 77760), (599, 539), (100, 50), (10, 5)])
async def test_a_token_is_renewed_a_tenth_of_its_life_and_at_least_a_minute_early(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock, lifetime: int, renewed_after: float
) -> None:
    endpoint.lifetime = lifetime
    await tokens.token(AUTH, renew=False)
    clock.now += renewed_after - 1
    assert await tokens.token(AUTH, renew=False) == Secret("token-1")
    clock.now += 1
    assert await tokens.token(AUTH, renew=False) == Secret("token-2")


async def test_its_life_counts_from_the_request_not_from_the_answer(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    endpoint.open.clear()
    (call,) = await waiting(endpoint, tokens.token(AUTH, renew=False))
    clock.now += 4
    endpoint.open.set()
    await call
    clock.now += 3240 - 4
    assert await tokens.token(AUTH, renew=False) == Secret("token-2")


async def test_while_the_end_point_is_down_a_token_serves_to_its_end_and_never_after(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    await tokens.token(AUTH, renew=False)
    endpoint.script = [BUSY, BUSY, BUSY]
    clock.now += 3300
    assert await tokens.token(AUTH, renew=False) == Secret("token-1")
    clock.now += 299
    assert await tokens.token(AUTH, renew=False) == Secret("token-1")
    clock.now += 1
    assert (await failure_of(tokens.token(AUTH, renew=False))).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE


async def test_a_token_near_its_end_does_not_hide_that_the_credentials_are_refused(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    await tokens.token(AUTH, renew=False)
    endpoint.script = [refusal()]
    clock.now += 3300
    assert (await failure_of(tokens.token(AUTH, renew=False))).reason is Reason.OAUTH2_TOKEN_REJECTED


@pytest.mark.parametrize("expires_in", [0, -1])
async def test_a_token_that_arrives_expired_is_not_handed_out(
    tokens: TokenCache, endpoint: Endpoint, expires_in: int
) -> None:
    endpoint.script = [issued("dead", expires_in=expires_in)]
    assert (await failure_of(tokens.token(AUTH, renew=False))).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE


async def test_callers_at_the_same_time_share_one_request(tokens: TokenCache, endpoint: Endpoint) -> None:
    endpoint.open.clear()
    calls = await waiting(endpoint, *(tokens.token(AUTH, renew=False) for _ in range(20)))
    endpoint.open.set()
    assert await asyncio.gather(*calls) == [Secret("token-1")] * 20
    assert len(endpoint.forms) == 1


async def test_each_caller_of_a_shared_request_gets_a_failure_of_its_own(
    tokens: TokenCache, endpoint: Endpoint
) -> None:
    endpoint.script = [HttpAnswer(429, b"", "7")]
    endpoint.open.clear()
    calls = await waiting(endpoint, tokens.token(AUTH, renew=False), tokens.token(AUTH, renew=False))
    endpoint.open.set()
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert first is not second
    assert (first.reason, first.retry_after) == (second.reason, second.retry_after)


async def test_cancelling_one_caller_leaves_the_request_to_the_others(tokens: TokenCache, endpoint: Endpoint) -> None:
    endpoint.open.clear()
    first, second = await waiting(endpoint, tokens.token(AUTH, renew=False), tokens.token(AUTH, renew=False))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    endpoint.open.set()
    assert await second == Secret("token-1")
    assert len(endpoint.forms) == 1


async def test_a_token_that_nobody_waits_for_any_more_serves_the_next_caller(
    tokens: TokenCache, endpoint: Endpoint
) -> None:
    endpoint.open.clear()
    (call,) = await waiting(endpoint, tokens.token(AUTH, renew=False))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    endpoint.open.set()
    assert await tokens.token(AUTH, renew=False) == Secret("token-1")
    assert len(endpoint.forms) == 1


async def test_one_slow_credential_does_not_hold_up_another(tokens: TokenCache, endpoint: Endpoint) -> None:
    await tokens.token(AUTH, renew=False)
    endpoint.open.clear()
    other = replace(AUTH, source=replace(GRANT, refresh_token=Secret("other")))
    endpoint.asked.clear()
    (slow,) = await waiting(endpoint, tokens.token(other, renew=False))
    assert await tokens.token(AUTH, renew=False) == Secret("token-1")
    endpoint.open.set()
    await slow


async def test_a_refused_token_is_replaced_by_a_new_one(tokens: TokenCache, endpoint: Endpoint, clock: Clock) -> None:
    await tokens.token(AUTH, renew=False)
    clock.now += 600
    assert await tokens.token(AUTH, renew=True) == Secret("token-2")
    assert await tokens.token(AUTH, renew=False) == Secret("token-2")


async def test_sessions_that_are_refused_together_share_one_renewal(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    await tokens.token(AUTH, renew=False)
    clock.now += 600
    renewed = [await tokens.token(AUTH, renew=True) for _ in range(5)]
    assert renewed == [Secret("token-2")] * 5
    assert len(endpoint.forms) == 2


async def test_a_token_refused_as_soon_as_it_was_issued_is_not_replaced(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    new = await tokens.token(AUTH, renew=False)
    clock.now += 4.9
    assert await tokens.token(AUTH, renew=True) == new
    assert len(endpoint.forms) == 1
    clock.now += 0.1
    assert await tokens.token(AUTH, renew=True) == Secret("token-2")


async def test_a_refused_token_is_forgotten_even_if_its_renewal_fails(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    await tokens.token(AUTH, renew=False)
    clock.now += 600
    endpoint.script = [BUSY]
    assert (await failure_of(tokens.token(AUTH, renew=True))).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
    assert await tokens.token(AUTH, renew=False) == Secret("token-3")


async def test_an_end_point_that_asks_for_a_pause_gets_it(tokens: TokenCache, endpoint: Endpoint, clock: Clock) -> None:
    endpoint.script = [HttpAnswer(429, b"", "30")]
    assert (await failure_of(tokens.token(AUTH, renew=False))).retry_after == 30
    clock.now += 10
    again = await failure_of(tokens.token(AUTH, renew=False))
    assert (again.reason, again.retry_after) == (Reason.OAUTH2_ENDPOINT_UNAVAILABLE, 20)
    assert len(endpoint.forms) == 1
    clock.now += 20
    assert await tokens.token(AUTH, renew=False) == Secret("token-2")


async def test_a_rotated_refresh_token_is_used_from_then_on_and_reported(endpoint: Endpoint, clock: Clock) -> None:
    rotations: list[RefreshTokenRotated] = []
    tokens = TokenCache(endpoint, clock=clock, on_rotation=rotations.append)
    endpoint.script = [
        issued("first", expires_in=3600, refresh_token="rotated-1"),
        issued("second", expires_in=3600, refresh_token="rotated-1"),
        issued("third", expires_in=3600, refresh_token="rotated-2"),
    ]
    for _ in range(3):
        await tokens.token(AUTH, renew=False)
        clock.now += 3600
    assert [form["refresh_token"] for form in endpoint.forms] == ["canary-refresh", "rotated-1", "rotated-1"]
    assert rotations == [
        RefreshTokenRotated("id", URL, Secret("rotated-1")),
        RefreshTokenRotated("id", URL, Secret("rotated-2")),
    ]
    assert "rotated" not in repr(rotations)


async def test_a_refresh_token_rotated_beside_a_useless_access_token_is_kept(
    tokens: TokenCache, endpoint: Endpoint
) -> None:
    endpoint.script = [issued("dead", expires_in=0, refresh_token="rotated")]
    await failure_of(tokens.token(AUTH, renew=False))
    await tokens.token(AUTH, renew=False)
    assert endpoint.forms[1]["refresh_token"] == "rotated"


async def test_another_mechanism_mailbox_or_first_token_is_still_the_same_client(
    tokens: TokenCache, endpoint: Endpoint
) -> None:
    await tokens.token(AUTH, renew=False)
    same = OAuth2Auth(
        user="b@example.com",
        source=replace(GRANT, access_token=AccessToken(token=Secret("stale"))),
        mechanism=TokenMechanism.OAUTHBEARER,
    )
    assert await tokens.token(same, renew=False) == Secret("token-1")


async def test_client_credentials_have_one_token_for_all_mailboxes(tokens: TokenCache, endpoint: Endpoint) -> None:
    grant = ClientCredentialsGrant(client_id="id", client_secret=Secret("s"), token_url=URL, scope="scope")
    for user in ("a@example.com", "b@example.com"):
        assert await tokens.token(OAuth2Auth(user=user, source=grant), renew=False) == Secret("token-1")


async def test_a_service_account_has_a_token_for_each_mailbox(tokens: TokenCache, endpoint: Endpoint) -> None:
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    grant = ServiceAccountGrant(
        service_client="robot",
        private_key_pem=Secret(key.decode()),
        private_key_passphrase=None,
        token_url=URL,
        scope="scope",
    )
    users = ("a@example.com", "b@example.com", "a@example.com")
    given = [await tokens.token(OAuth2Auth(user=user, source=grant), renew=False) for user in users]
    assert given == [Secret("token-1"), Secret("token-2"), Secret("token-1")]


async def test_a_first_token_is_used_until_it_is_refused(tokens: TokenCache, endpoint: Endpoint, clock: Clock) -> None:
    auth = replace(AUTH, source=replace(GRANT, access_token=AccessToken(token=Secret("given"))))
    clock.now += 10**6
    given = await tokens.token(auth, renew=False)
    assert given == Secret("given")
    assert await tokens.token(auth, renew=True) == Secret("token-1")
    assert await tokens.token(auth, renew=False) == Secret("token-1")


async def test_a_first_token_is_replaced_a_minute_before_it_expires(
    tokens: TokenCache, endpoint: Endpoint, clock: Clock
) -> None:
    first = AccessToken(token=Secret("given"), expires_at=clock.now + 90)
    auth = replace(AUTH, source=replace(GRANT, access_token=first))
    assert await tokens.token(auth, renew=False) == Secret("given")
    clock.now += 30
    assert await tokens.token(auth, renew=False) == Secret("token-1")


async def test_a_ready_token_is_handed_out_to_its_end(tokens: TokenCache, clock: Clock) -> None:
    auth = OAuth2Auth(user="a@example.com", source=AccessToken(token=Secret("canary"), expires_at=clock.now + 10))
    assert await tokens.token(auth, renew=False) == Secret("canary")
    clock.now += 10
    failure = await failure_of(tokens.token(auth, renew=False))
    assert failure.reason is Reason.OAUTH2_TOKEN_REJECTED
    assert "expired" in failure.message


async def test_a_ready_token_has_no_other_to_replace_it(tokens: TokenCache) -> None:
    auth = OAuth2Auth(user="a@example.com", source=AccessToken(token=Secret("canary")))
    assert await tokens.token(auth, renew=True) == Secret("canary")


async def test_a_private_key_that_cannot_sign_is_a_fault_of_the_configuration(tokens: TokenCache) -> None:
    grant = ServiceAccountGrant(
        service_client="robot",
        private_key_pem=Secret("canary"),
        private_key_passphrase=None,
        token_url=URL,
        scope="scope",
    )
    failure = await failure_of(tokens.token(OAuth2Auth(user="a@example.com", source=grant), renew=False))
    assert failure.reason is Reason.INVALID_CONFIG
    assert "canary" not in failure.message


async def test_what_the_port_raises_reaches_the_caller(tokens: TokenCache, endpoint: Endpoint) -> None:
    endpoint.script = [Failure(Reason.EGRESS_DENIED, "No.", stage=Stage.TOKEN)]
    assert (await failure_of(tokens.token(AUTH, renew=False))).reason is Reason.EGRESS_DENIED


async def test_closing_ends_the_requests_under_way_and_tells_who_waits(tokens: TokenCache, endpoint: Endpoint) -> None:
    endpoint.open.clear()
    (call,) = await waiting(endpoint, tokens.token(AUTH, renew=False))
    await tokens.aclose()
    assert (await failure_of(call)).reason is Reason.SHUTTING_DOWN


async def test_a_full_cache_forgets_first_what_gave_no_token_and_last_what_was_rotated(
    endpoint: Endpoint, clock: Clock
) -> None:
    tokens = TokenCache(endpoint, clock=clock, max_credentials=3)
    rotated, failed, plain, newest = (
        replace(AUTH, source=replace(GRANT, refresh_token=Secret(name))) for name in ("a", "b", "c", "d")
    )
    endpoint.script = [issued("A", expires_in=3600, refresh_token="rotated-a"), issued("C"), refusal()]
    await tokens.token(rotated, renew=False)
    await tokens.token(plain, renew=False)
    await failure_of(tokens.token(failed, renew=False))
    await tokens.token(newest, renew=False)  # evicts `failed`, though it was used last
    asked = len(endpoint.forms)
    assert [await tokens.token(auth, renew=False) for auth in (rotated, plain)] == [Secret("A"), Secret("C")]
    await tokens.token(newest, renew=False)
    await tokens.token(failed, renew=False)  # evicts `plain`, although `rotated` was used longer ago
    assert await tokens.token(rotated, renew=False) == Secret("A")
    await tokens.token(newest, renew=False)
    assert len(endpoint.forms) == asked + 1
    await tokens.token(plain, renew=False)
    assert len(endpoint.forms) == asked + 2


async def test_no_secret_is_in_the_repr_of_anything(tokens: TokenCache, endpoint: Endpoint) -> None:
    await tokens.token(AUTH, renew=False)
    assert "canary" not in repr([AUTH, tokens, vars(tokens)])
    assert "token-1" not in repr([AUTH, tokens, vars(tokens)])
