"""The FastAPI example: what each end of a mail becomes over HTTP."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.documents import document_for
from harness.inbox import Inbox
from harness.service import running_service
from smtpconnector.testing import FakeConnector

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.examples

EXAMPLE = Path(__file__).parents[3] / "examples" / "fastapi"
USER = "ada@example.com"


@pytest.fixture
def connector() -> Iterator[FakeConnector]:
    with FakeConnector() as connector:
        yield connector


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLE)
    return importlib.import_module("app").app


@pytest.fixture
def http(app: Any, connector: FakeConnector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("SMTPCONNECTOR_TARGET", connector.address)
    # Imported here: without the examples' environment this file must be read, though not run.
    with importlib.import_module("fastapi.testclient").TestClient(app, client=("203.0.113.9", 50000)) as http:
        yield http


def ask(http: Any, email: str = USER) -> Any:
    return http.post("/codes", json={"email": email})


def test_a_code_is_mailed_to_who_asks_for_it(http: Any, app: Any, connector: FakeConnector) -> None:
    answer = ask(http)
    assert (answer.status_code, answer.json()) == (200, {"detail": "The code was sent."})
    (message,) = connector.messages
    assert (message.to, message.type) == (USER, "SignIn")
    assert message.payload == {"code": app.state.codes[USER]}
    assert message.request.client_ip == "203.0.113.9"


@pytest.mark.parametrize(
    ("reason", "status", "retry_after"),
    [
        ("INVALID_REQUEST", 422, None),
        ("SMTP_RECIPIENT_REJECTED", 422, None),
        ("SMTP_MAILBOX_UNAVAILABLE", 422, None),
        ("LOCAL_RATE_LIMITED", 429, "60"),
        ("DEADLINE_EXCEEDED", 503, "5"),
        ("SMTP_AUTH_FAILED", 500, None),
        ("TEMPLATE_NOT_FOUND", 500, None),
        ("PROFILE_NOT_FOUND", 500, None),
        ("UNAUTHENTICATED", 500, None),
        ("SMTP_MESSAGE_REJECTED", 500, None),
    ],
)
def test_a_mail_that_was_not_sent_is_an_error(
    http: Any, connector: FakeConnector, reason: str, status: int, retry_after: str | None
) -> None:
    connector.fail_next(reason)
    answer = ask(http)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert connector.messages == []


def test_a_limit_tells_when_to_come_back(http: Any, connector: FakeConnector) -> None:
    connector.fail_next("LOCAL_RATE_LIMITED", retry_after=41.2)
    answer = ask(http)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "42")


def test_a_service_that_stays_away_is_unavailable(http: Any, connector: FakeConnector) -> None:
    connector.fail_next("SMTP_CONNECT_FAILED", times=20)
    answer = ask(http)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_a_mail_that_may_arrive_is_no_error_and_holds_a_code_that_works(
    http: Any, app: Any, connector: FakeConnector
) -> None:
    connector.fail_next("DELIVERY_UNCERTAIN")
    answer = ask(http)
    assert answer.status_code == 202
    assert "may or may not arrive" in answer.json()["detail"]
    assert connector.messages[0].payload == {"code": app.state.codes[USER]}


def test_no_answer_and_no_log_holds_the_address_or_the_code(
    http: Any, app: Any, connector: FakeConnector, caplog: pytest.LogCaptureFixture
) -> None:
    for reason in ("INVALID_REQUEST", "SMTP_AUTH_FAILED", "LOCAL_RATE_LIMITED", "DELIVERY_UNCERTAIN"):
        connector.fail_next(reason)
        answer = ask(http)
        assert USER not in answer.text
        assert app.state.codes[USER] not in answer.text
        assert USER not in caplog.text
        assert app.state.codes[USER] not in caplog.text
    assert "SMTP_AUTH_FAILED" in caplog.text


async def test_a_code_arrives_through_the_real_service(
    app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpx2: Any = importlib.import_module("httpx2")
    async with Inbox() as inbox, running_service({"default": document_for(inbox)}, tmp_path) as service:
        monkeypatch.setenv("SMTPCONNECTOR_TARGET", service.address)
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://backend") as http,
        ):
            answer = await http.post("/codes", json={"email": USER})
            assert answer.status_code == 200
            mail = await inbox.wait_for_mail()
            assert mail.recipients == (USER,)
            assert app.state.codes[USER] in mail.message.get_content()

            refused = await http.post("/codes", json={"email": "Ada, at home"})
            assert refused.status_code == 422
