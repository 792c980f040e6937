"""The examples, each built once; and a service that asks who calls."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from harness.example import Example, MissingToolchainError, Program

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = {
    "python": Example("python", ("python3",), sources=("client", "LICENSE"), tries=4),
    "python asyncio": Example("python", ("python3",), sources=("client", "LICENSE"), way=1, tries=4),
    "go": Example("go", ("go", "buf")),
    "java": Example("java", ("java", "mvn")),
    "typescript": Example("typescript", ("node", "npm")),
    "rust": Example("rust", ("cargo", "cc")),
}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    """Each example in turn."""
    return EXAMPLES[request.param]


@pytest.fixture
def program(example: Example) -> Program:
    """Its program; skipped by name where the machine lacks the toolchain."""
    try:
        return example.program()
    except MissingToolchainError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def token() -> str:
    """What the secured service knows a caller by."""
    return "s3cret"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def secured(authority: trustme.CA, token: str, tmp_path: Path) -> dict[str, Any]:
    """Settings of a service with TLS that asks for a token."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    digest = hashlib.sha256(token.encode()).hexdigest()
    (tmp_path / "callers.toml").write_text(f'[principals.shop]\ntoken_sha256 = ["{digest}"]\n', encoding="utf-8")
    return {
        "tls_cert": tmp_path / "server.pem",
        "tls_key": tmp_path / "server.key",
        "auth_tokens": tmp_path / "callers.toml",
    }
