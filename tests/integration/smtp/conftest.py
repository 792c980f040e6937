"""What the tests of the wire share: configurations that fit the scripted server, and a mail to send."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.certificates import ca_pem
from harness.sasl import Credentials
from smtpconnector_server.config.model import LoginAuth, LoginMechanism, Server, Timeouts, TlsMode, TlsOptions
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.envelope import Envelope
from smtpconnector_server.smtp.opening import Opener
from smtpconnector_server.smtp.pool import SessionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harness.smtp_server import SmtpServer


def server_for(smtp: SmtpServer, **changes: Any) -> Server:
    """Return the configuration that fits a scripted server, with some changes."""
    mode = TlsMode.DISABLED
    if smtp.tls is not None:
        mode = TlsMode.IMPLICIT if smtp.implicit_tls else TlsMode.STARTTLS_REQUIRED
    server = Server(
        host=smtp.host,
        port=smtp.port,
        tls_mode=mode,
        tls=TlsOptions(ca_pem=ca_pem()),
        auth=login() if smtp.credentials else None,
        client_hostname="client.example",
        timeouts=Timeouts(dns=5.0, connection=5.0, greeting=5.0, socket=5.0),
    )
    return replace(server, **changes)


def login(mechanism: LoginMechanism | None = None, password: str = Credentials().password) -> LoginAuth:
    return LoginAuth(user=Credentials().user, password=Secret(password), mechanism=mechanism)


ENVELOPE = Envelope(sender="a@b.example", recipient="c@d.example")
MESSAGE = b"Subject: Hi\r\n\r\naGVsbG8=\r\n"


@pytest.fixture(name="server_for")
def _server_for() -> Callable[..., Server]:
    return server_for


@pytest.fixture(name="login")
def _login() -> Callable[..., LoginAuth]:
    return login


@pytest.fixture
def envelope() -> Envelope:
    return ENVELOPE


@pytest.fixture
def message() -> bytes:
    return MESSAGE


@pytest.fixture
def opener() -> Opener:
    return Opener(Dialer())


@pytest.fixture
async def pool() -> AsyncIterator[SessionPool]:
    made = SessionPool(dialer=Dialer())
    yield made
    await made.close(0.0)
