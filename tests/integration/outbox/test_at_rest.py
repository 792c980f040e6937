"""What the store's files hold: sealed while messages wait, and nothing that names anybody after their end."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from harness.certificates import ca_pem, server_context
from harness.documents import document_for
from harness.durable import ENQUEUE, RESEND, eventually, refused, rows, send
from harness.fault import Fault, State, close, reply_with, stall
from harness.sasl import Credentials
from harness.service import running_service
from harness.smtp_server import SmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODE, PASSWORD, RECIPIENT = "canaryCode2718", "canaryPassword2719", "canaryRecipient2720"
USER, SUBJECT, REQUEST_ID, KEY = "canaryUser2721", "canarySubject2722", "canaryRequest2723", "canaryKey2724"
CLIENT_IP = "192.0.2.77"
CANARIES = (CODE, PASSWORD, RECIPIENT, USER, SUBJECT, REQUEST_ID, KEY, CLIENT_IP)


def forms(canary: str) -> Iterator[bytes]:
    """The octets in which a canary can come."""
    octets = canary.encode()
    yield octets
    yield octets.hex().encode()
    yield canary.encode("utf-16-le")
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + octets)
        yield encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]


def found_in(octets: bytes) -> list[str]:
    return [canary for canary in CANARIES if any(form in octets for form in forms(canary))]


def octets_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("store.db*")))


def request(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "to": f"{RECIPIENT}.{number}@example.com",
        "payload": {"code": CODE, "link": f"https://example.com/{CODE}"},
        "template": {"subject": SUBJECT, "content": "{{code}} {{link}}"},
        "request_id": f"{REQUEST_ID}-{number}",
        "supersede_key": f"{KEY}-{number}",
        "client_ip": CLIENT_IP,
        "delivery_mode": ENQUEUE,
        **fields,
    }


def test_a_canary_is_found_in_each_of_its_forms() -> None:
    for before in (b"", b"x", b"xy", b"xyz"):
        octets = before + CODE.encode() + b" and so on"
        assert found_in(octets) == found_in(base64.b64encode(octets)) == found_in(octets.hex().encode()) == [CODE]


async def test_no_file_and_no_log_line_names_anybody(tmp_path: Path, file: Path) -> None:
    credentials = Credentials(user=USER, password=PASSWORD)
    tls: dict[str, Any] = {"tls": server_context(), "credentials": credentials}
    echo = f"550 5.1.1 <{RECIPIENT}.2@example.com> unknown\r\n".encode()
    with capture_logs() as logs:
        async with (
            SmtpServer(**tls) as good,
            SmtpServer(Fault(State.RCPT, reply_with(echo)), extensions=(), **tls) as refusing,
            SmtpServer(Fault(State.ACCEPTED, close), **tls) as losing,
            SmtpServer(Fault(State.GREETING, stall), **tls) as stalling,
        ):
            servers = (good, refusing, losing, stalling)
            documents = [
                document_for(server, auth={"user": USER, "pass": PASSWORD}, tls={"ca": ca_pem()}) for server in servers
            ]
            async with running_service({}, tmp_path, store=str(file), grace=0.1) as service:
                expires = {"seconds": int(time.time()) + 4}
                for number in range(1, 5):
                    document = documents[number - 1]
                    await send(
                        service,
                        **request(number, config={"document": document}, expire_time=expires, uncertain_policy=RESEND),
                    )
                await send(service, **request(4, request_id="", config={"document": documents[0]}, delivery_mode=0))
                again = request(6, to=f"{RECIPIENT}.2@example.com", config={"document": documents[1]}, delivery_mode=0)
                assert found_in((await refused(service, **again)).text.encode()) == []
                assert {row.state for row in rows(file) if row.has_content} <= {"SENDING", "QUEUED", "UNKNOWN"}
                assert found_in(octets_of(tmp_path)) == []
                await eventually(lambda: not any(row.has_content for row in rows(file)))
                assert found_in(octets_of(tmp_path)) == []
            assert found_in(octets_of(tmp_path)) == []

            ends = [row.state for row in rows(file)]
            assert sorted(ends) == ["REJECTED", "REJECTED", "SENT", "SENT", "SUPERSEDED", "UNKNOWN"]
            assert CODE.encode() in good.ledger[0].content
    assert len(logs) > 5
    assert found_in(repr(logs).encode()) == []
