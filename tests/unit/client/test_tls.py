"""TLS and mutual TLS to the service, right and wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from harness.fake_connector import serving_in_loop
from smtpconnector import AsyncClient, Outcome, Tls, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.fake_connector import Script

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()
TRUST = AUTHORITY.cert_pem.bytes()


def server_credentials(*, clients_too: bool = False) -> grpc.ServerCredentials:
    leaf = AUTHORITY.issue_cert("localhost", "mail.internal")
    return grpc.ssl_server_credentials(
        [(leaf.private_key_pem.bytes(), b"".join(part.bytes() for part in leaf.cert_chain_pems))],
        root_certificates=TRUST if clients_too else None,
        require_client_auth=clients_too,
    )


def mutual(issuer: trustme.CA) -> Tls:
    leaf = issuer.issue_cert("backend.internal")
    chain = b"".join(part.bytes() for part in leaf.cert_chain_pems)
    return Tls(root_certificates=TRUST, certificate_chain=chain, private_key=leaf.private_key_pem.bytes())


async def test_a_trusted_service_hears_the_token(connected: Callable[..., Any], script: Script) -> None:
    tls = Tls(root_certificates=TRUST)
    async with connected("localhost", server_credentials(), tls=tls, token="s3cret") as caller:
        await caller.send_message("ada@example.com", "Test")
    assert script.metadata[0]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    "tls",
    [
        Tls(root_certificates=STRANGER.cert_pem.bytes()),
        Tls(root_certificates=TRUST, server_name="elsewhere.internal"),
    ],
    ids=["wrong authority", "wrong name"],
)
async def test_a_service_that_cannot_prove_its_name_hears_nothing(script: Script, tls: Tls) -> None:
    async with (
        serving_in_loop(script, server_credentials()) as port,
        AsyncClient(f"localhost:{port}", tls=tls, token="s3cret") as client,
    ):
        with pytest.raises(Unavailable, match="cannot be reached") as raised:
            await client.send_message("ada@example.com", "Test")
    assert raised.value.outcome is Outcome.NOT_SENT
    assert not script.requests


async def test_the_name_to_expect_can_be_said(connected: Callable[..., Any]) -> None:
    tls = Tls(root_certificates=TRUST, server_name="mail.internal")
    async with connected("127.0.0.1", server_credentials(), tls=tls) as caller:
        await caller.send_message("ada@example.com", "Test")


async def test_a_client_with_a_trusted_certificate_is_let_in(connected: Callable[..., Any]) -> None:
    async with connected("localhost", server_credentials(clients_too=True), tls=mutual(AUTHORITY)) as caller:
        await caller.send_message("ada@example.com", "Test")


@pytest.mark.parametrize("tls", [Tls(root_certificates=TRUST), mutual(STRANGER)], ids=["none", "a stranger's"])
async def test_a_client_without_one_is_not(script: Script, tls: Tls) -> None:
    async with (
        serving_in_loop(script, server_credentials(clients_too=True)) as port,
        AsyncClient(f"localhost:{port}", tls=tls) as client,
    ):
        with pytest.raises(Unavailable):
            await client.send_message("ada@example.com", "Test")
    assert not script.requests
