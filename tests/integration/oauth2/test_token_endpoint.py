"""Token end points over real HTTPS, good and hostile."""

from __future__ import annotations

import gzip
import logging
import socket
import traceback
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from harness.certificates import Certificate, client_context, server_context
from harness.token_server import (
    Answer,
    TokenServer,
    answers,
    hangs_up,
    issues,
    never_stops,
    refuses,
    says_nothing,
    stops_in_the_body,
)
from smtpconnector_server.config.model import OAuth2Auth, RefreshTokenGrant
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.oauth2 import RefreshTokenRotated, TokenCache
from smtpconnector_server.smtp.resolver import Resolver
from smtpconnector_server.smtp.token_endpoint import TokenEndpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from smtpconnector_server.smtp.resolver import IpAddress

FORM = {"client_id": "id", "scope": "https://mail.google.com/ offline", "refresh_token": "1//0-+&=\u00e9"}


class Targets:
    """A name server and a policy in one: knows some addresses for every name, and what the policy was asked."""

    def __init__(self, *addresses: str, denies: bool = False) -> None:
        self.addresses = [ip_address(address) for address in addresses or ("127.0.0.1",)]
        self.denies = denies
        self.looked_up: list[str] = []
        self.vetted: list[tuple[str, int, list[str]]] = []

    def lookup(self, host: str) -> Sequence[IpAddress]:
        self.looked_up.append(host)
        return self.addresses

    def vet(self, host: str, port: int, addresses: Sequence[IpAddress]) -> None:
        self.vetted.append((host, port, [str(address) for address in addresses]))
        if self.denies:
            raise Failure(Reason.EGRESS_DENIED, "Not allowed.", stage=Stage.TOKEN)


def endpoint(targets: Targets | None = None, *, timeout: float = 5.0) -> TokenEndpoint:
    targets = targets or Targets()
    return TokenEndpoint(resolver=Resolver(targets.lookup), policy=targets, tls=client_context(), timeout=timeout)


async def failure_of(call: Awaitable[object]) -> Failure:
    with pytest.raises(Failure) as caught:
        await call
    assert (caught.value.stage, caught.value.outcome) == (Stage.TOKEN, Outcome.NOT_SENT)
    return caught.value


async def test_posts_the_form_to_the_resolved_address_under_the_name_of_the_url() -> None:
    targets = Targets()
    async with TokenServer(answers(200, "{}", Retry_After="7")) as server:
        answer = await endpoint(targets)(server.url, FORM)
        assert (answer.status, answer.body, answer.retry_after) == (200, b"{}", "7")
        (request,) = server.requests
    assert request.line == "POST /oauth2/token HTTP/1.1"
    assert request.form == FORM
    assert request.server_name == "mail.example.com"
    assert request.headers["host"] == f"mail.example.com:{server.port}"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("smtpconnector/")
    assert targets.looked_up == ["mail.example.com"]
    assert targets.vetted == [("mail.example.com", server.port, ["127.0.0.1"])]


async def test_two_names_of_one_address_never_share_a_connection() -> None:
    post = endpoint()
    async with TokenServer() as server:
        for name in ("mail.example.com", "login.example.com"):
            await post(server.url_of(name), FORM)
        assert [request.server_name for request in server.requests] == ["mail.example.com", "login.example.com"]
        assert server.connections == 2


async def test_goes_on_to_the_next_address_where_one_is_dead() -> None:
    async with TokenServer() as server:
        answer = await endpoint(Targets("127.0.0.2", "127.0.0.1"))(server.url, FORM)
        assert answer.status == 200
        assert len(server.requests) == 1


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with TokenServer() as server:
        assert (await endpoint()(server.url, FORM)).status == 200


async def test_a_redirect_is_an_answer_and_nobody_goes_there() -> None:
    targets = Targets()
    async with TokenServer(answers(302, "", Location="http://169.254.169.254/latest/meta-data/")) as server:
        assert (await endpoint(targets)(server.url, FORM)).status == 302
        assert server.connections == 1
    assert targets.looked_up == ["mail.example.com"]
    assert targets.vetted == [("mail.example.com", server.port, ["127.0.0.1"])]


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example.com/token",
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/_HELO",
        "https:///token",
        "https://canary:canary@mail.example.com/token",
        "mail.example.com/token",
        "https://mail.example.com:99999/token",
        "https://mail.example.com/\x00",
        "",
    ],
)
async def test_an_url_that_is_not_https_is_refused_before_anything_is_looked_up(url: str) -> None:
    targets = Targets()
    failure = await failure_of(endpoint(targets)(url, FORM))
    assert failure.reason is Reason.INVALID_CONFIG
    assert "canary" not in failure.message
    assert not targets.looked_up


async def test_a_target_that_policy_refuses_is_never_connected_to() -> None:
    async with TokenServer() as server:
        failure = await failure_of(endpoint(Targets(denies=True))(server.url, FORM))
        assert failure.reason is Reason.EGRESS_DENIED
        assert server.connections == 0


async def test_the_policy_sees_an_address_that_is_written_in_the_url() -> None:
    targets = Targets(denies=True)
    await failure_of(endpoint(targets)("https://169.254.169.254/latest/", FORM))
    await failure_of(endpoint(targets)("https://[::ffff:127.0.0.1]/", FORM))
    assert [addresses for _, _, addresses in targets.vetted] == [["169.254.169.254"], ["::ffff:7f00:1"]]


@pytest.mark.parametrize(
    ("error", "message"),
    [(socket.EAI_NONAME, "has no address; check the token URL"), (socket.EAI_AGAIN, "cannot be looked up")],
)
async def test_a_name_without_an_address_is_an_unavailable_end_point(error: int, message: str) -> None:
    def lookup(host: str) -> Sequence[IpAddress]:
        raise socket.gaierror(error, host)

    post = TokenEndpoint(resolver=Resolver(lookup), policy=Targets(), tls=client_context())
    failure = await failure_of(post("https://mail.example.com/token", FORM))
    assert failure.reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
    assert message in failure.message


@pytest.mark.parametrize("certificate", [kind for kind in Certificate if kind is not Certificate.GOOD])
async def test_a_certificate_that_is_not_trusted_gets_no_secret(certificate: Certificate) -> None:
    async with TokenServer(tls=server_context(certificate)) as server:
        failure = await failure_of(endpoint()(server.url, FORM))
        assert failure.reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
        assert "certificate" in failure.message
        assert not server.requests


async def test_a_body_past_64_kib_is_not_read_to_its_end() -> None:
    async with TokenServer(never_stops) as server:
        failure = await failure_of(endpoint()(server.url, FORM))
        assert failure.reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
        assert "more than 65536 octets" in failure.message
        await server.all_connections_ended()


async def test_a_body_of_exactly_64_kib_is_read() -> None:
    async with TokenServer(answers(200, b" " * 65536), answers(200, b" " * 65537)) as server:
        assert len((await endpoint()(server.url, FORM)).body) == 65536
        assert (await failure_of(endpoint()(server.url, FORM))).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE


async def test_a_compressed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 10**6)
    async with TokenServer(answers(200, bomb, Content_Encoding="gzip")) as server:
        assert (await endpoint()(server.url, FORM)).body == bomb


@pytest.mark.parametrize("answer", [says_nothing, stops_in_the_body])
async def test_an_end_point_that_takes_too_long_is_given_up(answer: Answer) -> None:
    async with TokenServer(answer) as server:
        failure = await failure_of(endpoint(timeout=0.3)(server.url, FORM))
        assert failure.reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
        assert "did not answer within 0.3 s" in failure.message


async def test_a_broken_connection_is_an_unavailable_end_point_and_the_form_is_not_sent_twice() -> None:
    async with TokenServer(hangs_up) as server:
        failure = await failure_of(endpoint(Targets("127.0.0.1", "127.0.0.1"))(server.url, FORM))
        assert failure.reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE
        assert len(server.requests) == 1


async def test_an_end_point_that_nobody_serves_is_unavailable() -> None:
    async with TokenServer() as server:
        url = server.url
    assert (await failure_of(endpoint()(url, FORM))).reason is Reason.OAUTH2_ENDPOINT_UNAVAILABLE


def _auth(server: TokenServer) -> OAuth2Auth:
    grant = RefreshTokenGrant(
        client_id="id",
        client_secret=Secret("canary-secret"),
        refresh_token=Secret("canary-refresh"),
        token_url=server.url,
    )
    return OAuth2Auth(user="a@example.com", source=grant)


async def test_a_rotated_refresh_token_is_sent_the_next_time() -> None:
    now = 1_700_000_000.0
    rotations: list[RefreshTokenRotated] = []
    tokens = TokenCache(endpoint(), clock=lambda: now, on_rotation=rotations.append)
    async with TokenServer(issues("first", refresh_token="rotated"), issues("second")) as server:
        assert await tokens.token(_auth(server), renew=False) == Secret("first")
        now += 3600
        assert await tokens.token(_auth(server), renew=False) == Secret("second")
        assert [request.form["refresh_token"] for request in server.requests] == ["canary-refresh", "rotated"]
    assert [rotation.refresh_token for rotation in rotations] == [Secret("rotated")]


@pytest.mark.parametrize(
    ("answer", "reason", "retry_after"),
    [
        (refuses("invalid_grant"), Reason.OAUTH2_TOKEN_REJECTED, None),
        (refuses("canary-refresh", error_description="canary-secret"), Reason.OAUTH2_TOKEN_REJECTED, None),
        (refuses("invalid_client", status=401), Reason.OAUTH2_TOKEN_REJECTED, None),
        (answers(404, "<html>canary-secret</html>"), Reason.OAUTH2_TOKEN_REJECTED, None),
        (answers(429, "", Retry_After="7"), Reason.OAUTH2_ENDPOINT_UNAVAILABLE, 7.0),
        (answers(500, ""), Reason.OAUTH2_ENDPOINT_UNAVAILABLE, None),
        (answers(200, "<html>canary-secret</html>"), Reason.OAUTH2_ENDPOINT_UNAVAILABLE, None),
        (answers(307, "", Location="http://169.254.169.254/"), Reason.OAUTH2_ENDPOINT_UNAVAILABLE, None),
        (never_stops, Reason.OAUTH2_ENDPOINT_UNAVAILABLE, None),
        (hangs_up, Reason.OAUTH2_ENDPOINT_UNAVAILABLE, None),
    ],
)
async def test_every_bad_answer_is_a_failure_with_no_secret_in_it_or_in_any_log(
    answer: Answer, reason: Reason, retry_after: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with TokenServer(answer) as server:
        failure = await failure_of(TokenCache(endpoint()).token(_auth(server), renew=False))
    assert (failure.reason, failure.retry_after) == (reason, retry_after)
    assert caplog.records
    told = "".join(traceback.format_exception(failure)) + repr(failure) + caplog.text
    assert "canary" not in told
