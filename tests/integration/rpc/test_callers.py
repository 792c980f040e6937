"""Who may call: tokens, client certificates, what each may use, and a certificate that changes while serving."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness.documents import document_for
from harness.inbox import Inbox
from harness.service import CallError
from smtpconnector.v1 import connector_service_pb2, connector_service_pb2_grpc
from smtpconnector_server.app import running_server
from smtpconnector_server.config.profile import load_profile
from smtpconnector_server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKENS = {"shop": "shop-token-1", "shop again": "shop-token-2", "admin": "admin-token"}
CALLERS = """
[principals.shop]
token_sha256 = ["{shop}", "{shop again}"]
profiles = ["default"]

[principals.admin]
token_sha256 = ["{admin}"]
own_configurations = true

[principals.worker]
certificate_names = ["worker.internal"]
profiles = ["other"]
"""


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with Inbox() as inbox:
        yield inbox


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def flags(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    write_certificate(authority.issue_cert("localhost"), tmp_path)
    hashes = {name: hashlib.sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
    (tmp_path / "callers.toml").write_text(CALLERS.format(**hashes), encoding="utf-8")
    return {
        "listen": "127.0.0.1:0",
        "grace": 1.0,
        "tls_cert": tmp_path / "server.pem",
        "tls_key": tmp_path / "server.key",
        "auth_tokens": tmp_path / "callers.toml",
        "allow_target": ("127.0.0.0/8",),
    }


def write_certificate(certificate: trustme.LeafCert, folder: Path) -> None:
    (folder / "server.key").write_bytes(certificate.private_key_pem.bytes())
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


def profiles(inbox: Inbox, folder: Path) -> dict[str, Any]:
    file = folder / "profile.json"
    file.write_text(json.dumps(document_for(inbox)), encoding="utf-8")
    return {"default": load_profile(file), "other": load_profile(file)}


def channel_to(address: str, authority: trustme.CA, client: trustme.LeafCert | None = None) -> grpc.aio.Channel:
    roots = authority.cert_pem.bytes()
    if client is None:
        credentials = grpc.ssl_channel_credentials(roots)
    else:
        chain = b"".join(blob.bytes() for blob in client.cert_chain_pems)
        credentials = grpc.ssl_channel_credentials(roots, client.private_key_pem.bytes(), chain)
    return grpc.aio.secure_channel(address.replace("127.0.0.1", "localhost"), credentials)


async def send(channel: grpc.aio.Channel, token: str | None = None, **fields: Any) -> CallError | None:
    request = connector_service_pb2.SendMessageRequest(
        **{"to": "a@example.com", "type": "SignIn", "validate_only": True, **fields}
    )
    metadata = [("authorization", f"Bearer {token}")] if token is not None else []
    try:
        await connector_service_pb2_grpc.ConnectorServiceStub(channel).SendMessage(
            request, timeout=10, metadata=metadata
        )
    except grpc.aio.AioRpcError as error:
        return CallError(error)
    return None


async def test_two_tokens_of_a_caller_are_valid_at_once(
    flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    async with (
        running_server(load_settings(flags), profiles(inbox, tmp_path)) as server,
        channel_to(server.address, authority) as channel,
    ):
        assert await send(channel, TOKENS["shop"]) is None
        assert await send(channel, TOKENS["shop again"]) is None


@pytest.mark.parametrize("token", [None, "", "wrong", "shop-token-1x", "x" * 5000])
async def test_no_or_a_wrong_token_is_refused_before_anything_is_read(
    token: str | None, flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    async with (
        running_server(load_settings(flags), profiles(inbox, tmp_path)) as server,
        channel_to(server.address, authority) as channel,
    ):
        error = await send(channel, token, to="not an address")
        assert error is not None
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_a_caller_may_use_what_the_operator_says(
    flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    own = {"document": document_for(inbox)}
    async with (
        running_server(load_settings(flags), profiles(inbox, tmp_path)) as server,
        channel_to(server.address, authority) as channel,
    ):
        for config in ({"profile": "other"}, {"profile": "no-such"}, own):
            error = await send(channel, TOKENS["shop"], config=config)
            assert error is not None
            assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        for allowed in ({"profile": "other"}, own):
            assert await send(channel, TOKENS["admin"], config=allowed) is None


async def test_health_is_open(flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path) -> None:
    async with (
        running_server(load_settings(flags), profiles(inbox, tmp_path)) as server,
        channel_to(server.address, authority) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_client_certificate_names_its_caller(
    flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    (tmp_path / "clients.pem").write_bytes(authority.cert_pem.bytes())
    settings = load_settings({**flags, "tls_client_ca": tmp_path / "clients.pem"})
    async with running_server(settings, profiles(inbox, tmp_path)) as server:
        async with channel_to(server.address, authority, authority.issue_cert("worker.internal")) as channel:
            assert await send(channel, config={"profile": "other"}) is None
            refused = await send(channel)
            assert refused is not None
            assert refused.reason == "PERMISSION_DENIED"
        async with channel_to(server.address, authority, authority.issue_cert("stranger.internal")) as channel:
            unknown = await send(channel)
            assert unknown is not None
            assert unknown.reason == "UNAUTHENTICATED"
        for bad in (None, trustme.CA().issue_cert("worker.internal")):
            async with channel_to(server.address, authority, bad) as channel:
                error = await send(channel, config={"profile": "other"})
                assert error is not None
                assert error.code == grpc.StatusCode.UNAVAILABLE  # the handshake fails


async def test_a_new_certificate_counts_from_the_next_connection_on(
    flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    async with (
        running_server(load_settings(flags), profiles(inbox, tmp_path)) as server,
        channel_to(server.address, authority) as standing,
    ):
        assert await send(standing, TOKENS["shop"]) is None
        renewed = trustme.CA()
        write_certificate(renewed.issue_cert("localhost"), tmp_path)
        async with channel_to(server.address, renewed) as fresh:
            assert await send(fresh, TOKENS["shop"]) is None
        assert await send(standing, TOKENS["shop"]) is None
        (tmp_path / "server.key").write_text("garbage", encoding="utf-8")
        async with channel_to(server.address, renewed) as after_garbage:
            assert await send(after_garbage, TOKENS["shop"]) is None


async def test_a_token_is_changed_while_serving(
    flags: dict[str, Any], inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    async def until(token: str, *, is_known: bool) -> None:
        async with asyncio.timeout(10):
            while (await send(channel, token) is None) is not is_known:
                pass

    file = tmp_path / "callers.toml"
    async with (
        running_server(load_settings(flags), profiles(inbox, tmp_path)) as server,
        channel_to(server.address, authority) as channel,
    ):
        old = hashlib.sha256(TOKENS["shop"].encode()).hexdigest()
        new = hashlib.sha256(b"new-token").hexdigest()
        file.write_text(f'[principals.shop]\ntoken_sha256 = ["{old}", "{new}"]\n', encoding="utf-8")
        await until("new-token", is_known=True)
        assert await send(channel, TOKENS["shop"]) is None
        file.write_text(f'[principals.shop]\ntoken_sha256 = ["{new}"]\n', encoding="utf-8")
        await until(TOKENS["shop"], is_known=False)
        file.write_text("garbage", encoding="utf-8")
        assert await send(channel, "new-token") is None
