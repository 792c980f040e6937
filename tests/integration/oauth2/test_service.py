"""The whole service, from a gRPC call with a profile to a mail behind OAuth 2.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.certificates import authority, ca_pem, server_context
from harness.sasl import Credentials
from harness.service import running_service
from harness.smtp_server import SmtpServer
from harness.token_server import TokenServer, issues, refuses

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _system_trusts_the_token_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = tmp_path / "roots.pem"
    authority().cert_pem.write_to_path(roots)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))


def document(smtp: SmtpServer, **auth: Any) -> dict[str, Any]:
    return {
        "host": smtp.host,
        "port": smtp.port,
        "secure": True,
        "tls": {"ca": ca_pem()},
        "auth": {"type": "OAuth2", "user": "sender@example.com", **auth},
        "fromEmail": "sender@example.com",
        "templates": [
            {"usageType": usage_type, "contentType": "text/plain", "subject": "Code", "content": "{{code}}"}
            for usage_type in ("Register", "SignIn", "ForgotPassword", "Generic")
        ],
    }


def call() -> dict[str, Any]:
    return {"to": "recipient@example.com", "type": "Generic", "payload": {"code": "123456"}}


def smtp_server() -> SmtpServer:
    return SmtpServer(tls=server_context(), implicit_tls=True, credentials=Credentials(token="canary-token"))


@pytest.mark.parametrize(
    ("auth", "grant_type"),
    [
        (
            {"clientId": "id", "clientSecret": "canary-secret", "refreshToken": "canary-refresh"},
            "refresh_token",
        ),
        ({"clientId": "id", "clientSecret": "canary-secret", "scope": "scope"}, "client_credentials"),
    ],
)
async def test_a_profile_sends_behind_oauth2_and_tells_nobody_a_secret(
    auth: dict[str, str], grant_type: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with TokenServer(issues("canary-token", refresh_token="canary-rotated")) as tokens, smtp_server() as smtp:
        profile = document(smtp, **auth, accessUrl=tokens.url_of("localhost"))
        async with running_service({"default": profile}, tmp_path) as service:
            await service.send(**call())
        assert len(smtp.ledger) == 1
        assert [request.form["grant_type"] for request in tokens.requests] == [grant_type]
    written = "".join(capfd.readouterr())
    assert ("oauth2_refresh_token_rotated" in written) == (grant_type == "refresh_token")
    assert "canary" not in written


async def test_refused_credentials_are_a_precondition_of_the_callers_and_name_the_error(tmp_path: Path) -> None:
    answer = refuses("invalid_grant", error_description="AADSTS700082: canary")
    async with TokenServer(answer) as tokens, smtp_server() as smtp:
        profile = document(
            smtp, clientId="canary-id", refreshToken="canary-refresh", accessUrl=tokens.url_of("localhost")
        )
        async with running_service({"default": profile}, tmp_path) as service:
            error = await service.send_refused(**call())
        assert error.reason == "OAUTH2_TOKEN_REJECTED"
        assert "invalid_grant, AADSTS700082" in error.text
        assert "canary" not in str(error.details) + error.text
        assert not smtp.sessions


async def test_a_caller_cannot_send_the_service_to_a_token_end_point_of_the_inside(tmp_path: Path) -> None:
    async with TokenServer() as tokens, smtp_server() as smtp:
        brought = document(smtp, clientId="id", refreshToken="canary-refresh", accessUrl=tokens.url_of("localhost")) | {
            "host": "smtp.example.com",
            "port": 465,
        }
        async with running_service({}, tmp_path, allow_target=()) as service:
            error = await service.send_refused(**call(), config={"document": brought})
        assert error.reason == "EGRESS_DENIED"
        assert tokens.connections == 0


async def test_a_caller_sends_behind_client_credentials_in_the_typed_form(tmp_path: Path) -> None:
    async with TokenServer(issues("canary-token")) as tokens, smtp_server() as smtp:
        application = {
            "user": "sender@example.com",
            "client_id": "id",
            "client_secret": "canary-secret",
            "token_url": tokens.url_of("localhost"),
            "scope": "mail.send",
        }
        typed = {
            "host": smtp.host,
            "port": smtp.port,
            "tls_mode": "TLS_MODE_IMPLICIT",
            "tls": {"ca_pem": ca_pem()},
            "oauth2_client_credentials": application,
            "from_email": "sender@example.com",
            "templates": [
                {"usage_type": usage_type, "subject": "Code", "content": "{{code}}"}
                for usage_type in ("Register", "SignIn", "ForgotPassword", "Generic")
            ],
        }
        async with running_service({}, tmp_path, allow_target=("127.0.0.0/8", f"localhost:{tokens.port}")) as service:
            await service.send(**call(), config={"smtp": typed})
        assert len(smtp.ledger) == 1
        (request,) = tokens.requests
        assert (request.form["grant_type"], request.form["scope"]) == ("client_credentials", "mail.send")
