"""No secret and no personal data in anything that the service writes, whatever happens to a call (threat K1).

The real process runs at log level debug, with metrics and traces on, through successes and failures of each kind. Every
secret and personal datum in it is a canary, and all that came out is searched for each, in the forms it can come in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from harness.certificates import authority, ca_pem, server_context
from harness.collector import Collector
from harness.fault import Fault, State, close, reply_with, stall
from harness.metrics_page import MetricsReader
from harness.sasl import Credentials
from harness.served import Served, served
from harness.smtp_server import SmtpServer
from harness.token_server import TokenServer, issues, refuses
from smtpconnector.v1 import connector_service_pb2 as pb
from smtpconnector.v1 import connector_service_pb2_grpc, delivery_pb2, validation_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "canaryPassword4711"
REFRESH_TOKEN = "canaryRefreshToken4712"
CLIENT_SECRET = "canaryClientSecret4713"
ACCESS_TOKEN = "canaryAccessToken4714"
CALLERS_TOKEN = "canaryCallersToken4715"
CODE = "canaryCode4716"
RECIPIENT = "canaryRecipient4717@example.com"
TEMPLATE = "canaryTemplate4718"
HEADER = "canaryHeader4719"
USER = "canaryUser4720@example.com"
SUBJECT = "canarySubject4721"
SECRETS = (PASSWORD, REFRESH_TOKEN, CLIENT_SECRET, ACCESS_TOKEN, CALLERS_TOKEN, CODE, RECIPIENT)
CANARIES = (*SECRETS, TEMPLATE, HEADER, USER, SUBJECT)


def forms(canary: str) -> Iterator[bytes]:
    """The texts in which a canary can come, in lower case but for base64."""
    octets = canary.partition("@")[0].encode()
    yield octets.lower()
    yield octets.hex().encode()
    yield "".join(f"%{octet:02x}" for octet in octets).encode()
    for shift in range(3):  # base64 depends on where in three octets it begins; the ends mix with what is beside it
        encoded = base64.b64encode(b"\0" * shift + octets)
        yield encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]


def found_in(octets: bytes) -> list[str]:
    folded = octets.lower()
    return [
        canary for canary in CANARIES if any(form in (folded if form.islower() else octets) for form in forms(canary))
    ]


def document(smtp: SmtpServer, **changes: Any) -> dict[str, Any]:
    return {
        "host": smtp.host,
        "port": smtp.port,
        "secure": True,
        "tls": {"ca": ca_pem()},
        "auth": {"user": USER, "pass": PASSWORD},
        "fromEmail": "sender@example.com",
        "customHeaders": {"X-Canary": HEADER},
        "debug": True,  # in profiles, the dialogue is logged
        "templates": [
            {
                "usageType": usage_type,
                "contentType": "text/plain",
                "subject": SUBJECT,
                "content": f"{TEMPLATE} {{{{code}}}}",
            }
            for usage_type in ("Register", "SignIn", "ForgotPassword", "Generic")
        ],
        **changes,
    }


def oauth2(tokens: TokenServer) -> dict[str, Any]:
    return {
        "type": "OAuth2",
        "user": USER,
        "clientId": "id",
        "clientSecret": CLIENT_SECRET,
        "refreshToken": REFRESH_TOKEN,
        "accessUrl": tokens.url_of("127.0.0.1"),
    }


def smtp_server(*faults: Fault) -> SmtpServer:
    credentials = Credentials(user=USER, password=PASSWORD, token=ACCESS_TOKEN)
    return SmtpServer(*faults, tls=server_context(), implicit_tls=True, credentials=credentials)


class Caller:
    """Calls, and keeps all that it hears."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.answers: list[bytes] = []
        self.errors: list[bytes] = []
        self.codes: list[str] = []
        self._channel = channel
        self._stub = connector_service_pb2_grpc.ConnectorServiceStub(channel)

    async def send(self, *, seconds: float = 10.0, token: str = CALLERS_TOKEN, **fields: Any) -> None:
        request = pb.SendMessageRequest(**{"to": RECIPIENT, "type": "SignIn", "payload": {"code": CODE}, **fields})
        await self._hear(self._stub.SendMessage(request, timeout=seconds, metadata=_proof(token)))

    async def validate(self, document: dict[str, Any], depth: int, **fields: Any) -> None:
        request = pb.ValidateConfigRequest(config={"document": document}, depth=depth, **fields)  # type: ignore[arg-type]
        await self._hear(self._stub.ValidateConfig(request, timeout=10, metadata=_proof(CALLERS_TOKEN)))

    async def send_octets(self, octets: bytes) -> None:
        call = self._channel.unary_unary("/smtpconnector.v1.ConnectorService/SendMessage")
        await self._hear(call(octets, timeout=10, metadata=_proof(CALLERS_TOKEN)))

    async def give_up(self, smtp: SmtpServer, state: State, **fields: Any) -> None:
        """Cancel a call that hangs at a state."""
        calling = asyncio.create_task(self.send(**fields))
        await smtp.reached(state)
        calling.cancel()
        await asyncio.wait([calling])

    async def _hear(self, call: Any) -> None:
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            metadata = [*(error.trailing_metadata() or ()), *(error.initial_metadata() or ())]
            self.codes.append(error.code().name)
            self.errors += [(error.details() or "").encode(), repr(metadata).encode()]
        else:
            self.codes.append("OK")
            self.answers.append(answer if isinstance(answer, bytes) else answer.SerializeToString())


def _proof(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.mark.parametrize("canary", CANARIES)
def test_a_canary_is_found_in_each_of_its_forms(canary: str) -> None:
    octets = canary.encode()
    for before in (b"", b"x", b"xy", b"xyz"):
        for text in (octets, base64.b64encode(before + octets + b" and so on"), octets.hex().encode()):
            assert canary in found_in(b"{" + text + b"}")
    assert canary in found_in("".join(f"%{octet:02X}" for octet in octets).encode())
    assert found_in(b"a line about ***") == []


async def test_whatever_happens_no_canary_gets_out(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    authority().cert_pem.write_to_path(roots)
    callers = tmp_path / "callers.toml"
    token_hash = hashlib.sha256(CALLERS_TOKEN.encode()).hexdigest()
    callers.write_text(
        f'[principals.shop]\ntoken_sha256 = ["{token_hash}"]\nown_configurations = true\n', encoding="utf-8"
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        good = await enter(smtp_server())
        echoes_password = await enter(
            smtp_server(Fault(State.AUTH1, reply_with(f"535 5.7.8 not {PASSWORD}\r\n".encode())))
        )
        echoes_base64 = await enter(
            smtp_server(
                Fault(
                    State.AUTH1, reply_with(b"535 not " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()) + b"\r\n")
                )
            )
        )
        echoes_recipient = await enter(
            smtp_server(Fault(State.RCPT, reply_with(f"550 5.1.1 <{RECIPIENT}> unknown\r\n".encode())))
        )
        loses = await enter(smtp_server(Fault(State.ACCEPTED, close)))
        breaks_protocol = await enter(smtp_server(Fault(State.MAIL, reply_with(f"25 {USER}\r\n".encode()))))
        hangs = await enter(smtp_server(Fault(State.MAIL, stall), Fault(State.DATA, stall)))
        late = await enter(smtp_server(Fault(State.ACCEPTED, stall)))
        tokens = await enter(TokenServer(*[issues(ACCESS_TOKEN, refresh_token=f"{REFRESH_TOKEN}-next")] * 3))
        refusing = await enter(
            TokenServer(*[refuses("invalid_grant", error_description=f"{REFRESH_TOKEN} {CLIENT_SECRET}")] * 9)
        )
        collector = await enter(Collector())
        profiles = {
            "default": document(good),
            "echoes-password": document(echoes_password),
            "echoes-base64": document(echoes_base64),
            "echoes-recipient": document(echoes_recipient),
            "loses": document(loses),
            "breaks-protocol": document(breaks_protocol),
            "hangs": document(hangs),
            "late": document(late),
            "in-the-clear": document(good, secure=False),
            "oauth2": document(good, auth=oauth2(tokens)),
            "oauth2-refused": document(good, auth=oauth2(refusing)),
        }
        flags = [*("--log-level", "debug", "--metrics-listen", "127.0.0.1:0", "--auth-tokens", str(callers))]
        flags += ["--allow-target", "127.0.0.0/8", "--grace", "1", "--limit-recipient", "1000/s"]
        flags += ["--store", str(tmp_path / "store.db")]
        for name, content in profiles.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
            flags += ["--profile", f"{name}={tmp_path / name}.json"]
        environment = {"SSL_CERT_FILE": str(roots), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        server = await enter(served(*flags, **environment, PYTHONASYNCIODEBUG="1"))
        caller = Caller(await enter(grpc.aio.insecure_channel(server.address)))

        await caller.give_up(hangs, State.MAIL, config={"profile": "hangs"})
        await server.line("call_cancelled")
        for name in profiles:
            await caller.send(
                config={"profile": name}, seconds=1.0 if name in {"hangs", "late", "in-the-clear"} else 10.0
            )
        assert caller.codes == [
            *("OK", "FAILED_PRECONDITION", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "UNKNOWN", "INTERNAL"),
            *("DEADLINE_EXCEEDED", "UNKNOWN", "DEADLINE_EXCEEDED", "OK", "FAILED_PRECONDITION"),
        ]
        await _send_durably(caller, server)
        await _call_wrongly(caller, good)
        await _bring_configurations(caller, good, echoes_password, refusing)
        (tmp_path / "default.json").write_text(json.dumps(document(good, port=PASSWORD, host="")), encoding="utf-8")
        await server.line("profile_refused")

        page = await MetricsReader((await server.line("metrics_listening"))["address"]).text()
        assert await server.stop() == 0
        _check_that_much_was_written(server, page, collector)
        for where, octets in (
            ("standard output", server.output),
            ("standard error", server.errors),
            ("the metrics", page.encode()),
            ("the traces", b"".join(collector.exports)),
            ("errors", b"\n".join(caller.errors)),
            ("the store", _all_of_the_store(tmp_path)),
        ):
            assert found_in(octets) == [], where
        # A caller who has a configuration checked gets it back, without what is secret in it.
        assert not set(found_in(b"\n".join(caller.answers))) & set(SECRETS)
        for smtp in (good, loses, late):
            assert smtp.ledger, "the canaries were not even sent"


def _all_of_the_store(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("store.db*"))


async def _send_durably(caller: Caller, server: Served) -> None:
    caller.codes.clear()
    for name in ("default", "echoes-password", "echoes-recipient", "loses", "breaks-protocol", "oauth2-refused"):
        await caller.send(
            config={"profile": name},
            request_id=f"{CODE}-{name}",
            supersede_key=f"{RECIPIENT}-{name}",
            delivery_mode=delivery_pb2.DELIVERY_MODE_ENQUEUE,
        )
    assert caller.codes == ["OK"] * 6
    for event in ("message_accepted", "message_ended", "message_deferred"):
        await server.line(event)
    await caller.send(config={"profile": "default"}, request_id=f"{CODE}-waited-for")
    await caller.send(config={"profile": "echoes-recipient"}, request_id=f"{CODE}-refused")
    assert caller.codes[6:] == ["OK", "INVALID_ARGUMENT"]


async def _call_wrongly(caller: Caller, good: SmtpServer) -> None:
    caller.codes.clear()
    await caller.send(token="canaryCallersToken4715-wrong")
    await caller.send(to=f"{RECIPIENT}, {RECIPIENT}")
    await caller.send(to=RECIPIENT.replace("@", "\r\nRCPT TO:<"))
    await caller.send(type="")
    await caller.send(payload={CODE: {CODE: [CODE] * 3}, "link": "\ud7ff" + CODE, "code": float("nan")})
    await caller.send(template={"subject": SUBJECT, "content": TEMPLATE + "{{#each}}" * 3, "send_from": RECIPIENT})
    await caller.send(template={"subject": f"{SUBJECT}\r\nBcc: {RECIPIENT}", "content": TEMPLATE})
    await caller.send(client_ip=CODE, request_id=CODE)
    await caller.send(config={"profile": PASSWORD})
    await caller.send(validate_only=True)
    await caller.send_octets(b"\x0a\xff" + CODE.encode())
    await caller.send_octets(pb.SendMessageRequest(to="a").SerializeToString() + b"\x0a\x02\xff\xfe" + CODE.encode())
    assert caller.codes.count("OK") <= 2, caller.codes
    assert {"UNAUTHENTICATED", "INVALID_ARGUMENT", "NOT_FOUND"} <= set(caller.codes)
    assert good.sessions


async def _bring_configurations(caller: Caller, good: SmtpServer, echoes: SmtpServer, refusing: TokenServer) -> None:
    wrong = [
        document(good, port=PASSWORD),
        document(good, host=f"{PASSWORD} "),
        document(good, auth={"user": USER, "pass": [PASSWORD], "type": ACCESS_TOKEN}),
        document(good, auth=PASSWORD),
        document(good, fromEmail=f"<{USER}"),
        document(good, customHeaders={"X-Canary": f"{HEADER}\r\nBcc: {RECIPIENT}"}),
        document(good, templates=[{"usageType": TEMPLATE, "content": TEMPLATE, "contentType": TEMPLATE}]),
        document(good, tls={"ca": PASSWORD, "key": PASSWORD, "passphrase": PASSWORD}),
        {**document(good), "password": PASSWORD},
    ]
    for content in wrong:
        await caller.send(config={"document": content})
        await caller.validate(content, validation_pb2.DEPTH_SCHEMA)
    for content in (document(good), document(echoes), document(good, auth=oauth2(refusing))):
        await caller.send(config={"document": content})
        for depth in (validation_pb2.DEPTH_RESOLVE, validation_pb2.DEPTH_CONNECT, validation_pb2.DEPTH_AUTHENTICATE):
            await caller.validate(content, depth)
        await caller.validate(content, validation_pb2.DEPTH_ENVELOPE, to=RECIPIENT)


def _check_that_much_was_written(server: Served, page: str, collector: Collector) -> None:
    """A search finds nothing also where nothing is."""
    events = {json.loads(line)["event"] for line in server.errors.splitlines() if line.startswith(b"{")}
    expected = {"call_finished", "call_cancelled", "session_opened", "session_closed", "session_failed"}
    expected.add("smtp_transcript")
    assert (
        expected | {"breaker_opened", "oauth2_token_renewed", "oauth2_token_refused", "oauth2_refresh_token_rotated"}
        <= events
    )
    assert b"Traceback" not in server.errors
    assert page.count("smtpconnector_calls_total{") > 5
    assert b"transaction" in b"".join(collector.exports)
