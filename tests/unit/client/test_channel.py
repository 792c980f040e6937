"""What may go in the clear, and what is refused before the first call."""

from __future__ import annotations

import json

import pytest

from smtpconnector import AsyncClient, Client, Tls
from smtpconnector.channel import _OPTIONS, Endpoint

LOCAL = [
    "127.0.0.1:50051",
    "127.8.8.8:1",
    "localhost:50051",
    "LOCALHOST",
    "[::1]:50051",
    "dns:///localhost:50051",
    "dns:localhost:50051",
    "dns://192.0.2.53/127.0.0.1:50051",
    "ipv4:127.0.0.1:1,127.0.0.2:1",
    "ipv6:[::1]:50051",
    "unix:/run/smtpconnector.sock",
    "unix:///run/smtpconnector.sock",
    "unix-abstract:smtpconnector",
]
ELSEWHERE = [
    "mail.internal:50051",
    "192.0.2.1:50051",
    "[2001:db8::1]:50051",
    "dns:///mail.internal:50051",
    "dns://127.0.0.1/mail.internal:50051",
    "ipv4:127.0.0.1:1,192.0.2.1:1",
    "localhost.example.com:1",
    "127.0.0.1.example.com:1",
    "xds:///localhost",
    "",
]


def endpoint(target: str, *, tls: Tls | None = None, insecure: bool = False) -> Endpoint:
    return Endpoint.of(target, tls=tls, token=None, insecure=insecure, timeout=1)


@pytest.mark.parametrize("target", LOCAL)
def test_this_machine_is_spoken_to_in_the_clear(target: str) -> None:
    assert endpoint(target).tls is None


@pytest.mark.parametrize("target", ELSEWHERE)
def test_any_other_machine_is_spoken_to_with_tls(target: str) -> None:
    assert endpoint(target).tls == Tls()


def test_the_callers_word_decides() -> None:
    assert endpoint("mail.internal:50051", insecure=True).tls is None
    assert endpoint("127.0.0.1:50051", tls=Tls()).tls == Tls()


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tls": Tls(), "insecure": True}, "exclude each other"),
        ({"timeout": 0}, "positive number of seconds"),
        ({"timeout": float("inf")}, "positive number of seconds"),
        ({"token": ""}, "visible ASCII"),
        ({"token": "two words"}, "visible ASCII"),
        ({"token": "line\r\nbreak"}, "visible ASCII"),
        ({"token": "schlüssel"}, "visible ASCII"),
    ],
)
def test_a_client_refuses_what_cannot_work(
    client: type[Client | AsyncClient], options: dict[str, object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        client("127.0.0.1:50051", **options)  # type: ignore[arg-type]  # any of them


def test_half_a_key_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="both certificate_chain and private_key"):
        Tls(certificate_chain=b"...")


def test_secrets_are_not_printed() -> None:
    tls = Tls(certificate_chain=b"chain", private_key=b"s3cret")
    printed = repr(Endpoint.of("mail.internal:1", tls=tls, token="s3cret", insecure=False, timeout=1))
    assert "s3cret" not in printed


def test_only_unavailable_is_retried_and_pings_are_rarer_than_the_server_allows() -> None:
    options = dict(_OPTIONS)
    (method,) = json.loads(str(options["grpc.service_config"]))["methodConfig"]
    assert {"service": "smtpconnector.v1.ConnectorService"} in method["name"]
    assert all(named.get("method") != "ResolveDelivery" for named in method["name"])
    assert {named["service"] for named in method["name"] if "method" not in named} == {
        "smtpconnector.v1.ConnectorService"
    }
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert int(options["grpc.keepalive_time_ms"]) >= 60_000
