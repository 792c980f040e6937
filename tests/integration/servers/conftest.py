"""The real servers, each started once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from harness.servers.exim import running_exim
from harness.servers.needs import pytest_runtest_setup
from harness.servers.postfix import running_postfix
from harness.servers.smtp_sink import running_smtp_sink
from smtpconnector_server.smtp.dialer import Dialer
from smtpconnector_server.smtp.pool import SessionPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from harness.servers.mail_server import MailServer
    from harness.servers.smtp_sink import SmtpSink

__all__ = ["pytest_runtest_setup"]  # pytest calls it


@pytest.fixture(scope="session")
def postfix() -> Iterator[MailServer]:
    with running_postfix() as server:
        yield server


@pytest.fixture(scope="session")
def exim() -> Iterator[MailServer]:
    with running_exim() as server:
        yield server


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.needs_server(name)) for name in ("postfix", "exim")])
def mail_server(request: pytest.FixtureRequest) -> MailServer:
    """Each of the mail servers in turn."""
    server: MailServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def smtp_sink() -> Iterator[Callable[..., SmtpSink]]:
    """Start smtp-sink with these flags."""
    with ExitStack() as running:
        yield lambda *flags: running.enter_context(running_smtp_sink(*flags))


@pytest.fixture
async def pool() -> AsyncIterator[SessionPool]:
    sessions = SessionPool(dialer=Dialer())
    yield sessions
    await sessions.close(1.0)
