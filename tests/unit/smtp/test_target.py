from __future__ import annotations

import ipaddress

import pytest

from smtpconnector_server.failure import Failure, Reason, Stage
from smtpconnector_server.smtp.target import PublicTargets, parse_target

INSIDE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "ff02::1",
    "2001:db8::1",
    "::7f00:1",
    "::ffff:0:127.0.0.1",
    "100::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]
OUTSIDE = ["8.8.8.8", "142.250.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]


def vet(policy: PublicTargets, *addresses: str, host: str = "mail.example.com", port: int = 587) -> None:
    policy.vet(host, port, [ipaddress.ip_address(address) for address in addresses])


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_of_the_inside_is_refused(address: str) -> None:
    with pytest.raises(Failure) as raised:
        vet(PublicTargets(), address)
    assert (raised.value.reason, raised.value.stage) == (Reason.EGRESS_DENIED, Stage.RESOLVE)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_allowed(address: str) -> None:
    vet(PublicTargets(), address)


def test_one_inside_address_among_public_ones_refuses_the_host() -> None:
    with pytest.raises(Failure):
        vet(PublicTargets(), "8.8.8.8", "10.0.0.1")


@pytest.mark.parametrize("port", [22, 80, 443, 6379, 1025, 65535])
def test_another_port_than_those_of_smtp_is_refused(port: int) -> None:
    with pytest.raises(Failure):
        vet(PublicTargets(), "8.8.8.8", port=port)


@pytest.mark.parametrize(
    ("target", "address", "host", "port"),
    [
        ("127.0.0.0/8", "127.0.0.1", "x", 2000),
        ("10.1.2.3", "10.1.2.3", "x", 25),
        ("10.1.2.3:1025", "10.1.2.3", "x", 1025),
        ("::1", "::1", "x", 25),
        ("[fd00::]/8:25", "fd12::1", "x", 25),
        ("mail.internal", "10.0.0.1", "mail.internal", 2525),
        ("Mail.Internal.:2525", "10.0.0.1", "mail.internal", 2525),
    ],
)
def test_what_the_operator_names_is_allowed(target: str, address: str, host: str, port: int) -> None:
    vet(PublicTargets([parse_target(target)]), address, host=host, port=port)


@pytest.mark.parametrize(
    ("target", "address", "host", "port"),
    [
        ("127.0.0.0/8:25", "127.0.0.1", "x", 26),
        ("mail.internal:25", "10.0.0.1", "mail.internal", 26),
        ("mail.internal", "10.0.0.1", "evil.mail.internal", 25),
        ("10.0.0.1", "10.0.0.2", "x", 25),
    ],
)
def test_and_nothing_beside_it(target: str, address: str, host: str, port: int) -> None:
    with pytest.raises(Failure):
        vet(PublicTargets([parse_target(target)]), address, host=host, port=port)


@pytest.mark.parametrize("text", ["", "a b", "x:0", "x:99999", "http://x", "10.0.0.0/33", "-x"])
def test_what_is_no_target_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="a target is HOST"):
        parse_target(text)


def test_a_local_address_is_the_operators_choice() -> None:
    with pytest.raises(Failure):
        PublicTargets().vet_source("192.168.1.1")
    PublicTargets([parse_target("192.168.1.1")]).vet_source("192.168.1.1")


def test_every_host_that_is_not_reached_gets_the_same_answer() -> None:
    policy = PublicTargets()
    told = [
        policy.tell("mail.example.com", 25, Failure(reason, text, stage=stage, host="mail.example.com"))
        for reason, text, stage in [
            (Reason.SMTP_DNS_NOT_FOUND, "no such name", Stage.RESOLVE),
            (Reason.SMTP_CONNECT_FAILED, "refused", Stage.CONNECT),
            (Reason.SMTP_CONNECT_TIMEOUT, "took too long", Stage.CONNECT),
        ]
    ]
    assert len({(failure.reason, failure.message, failure.stage) for failure in told}) == 1


def test_of_a_host_that_the_operator_names_all_is_told() -> None:
    failure = Failure(Reason.SMTP_DNS_NOT_FOUND, "no such name", stage=Stage.RESOLVE)
    assert PublicTargets([parse_target("mail.internal")]).tell("mail.internal", 25, failure) is failure
