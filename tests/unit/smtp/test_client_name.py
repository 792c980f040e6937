from __future__ import annotations

import pytest

from smtpconnector_server.smtp.client_name import address_literal, is_domain


@pytest.mark.parametrize("name", ["mail.example.com", "a.bc", "x-1.example.co", "xn--bcher-kva.example"])
def test_gives_a_domain_with_a_dot(name: str) -> None:
    assert is_domain(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "host",
        "localhost",
        "localhost.localdomain",
        "printer.local",
        "1.0.0.127.in-addr.arpa",
        "10.0.0.1",
        "a b.example",
        "ex_ample.com",
        "-a.example",
        "a..example",
        "bücher.example",
        "a.example\r\nRSET",
        "x" * 64 + ".example",
        "a.b." * 80,
    ],
)
def test_gives_nothing_that_a_server_would_refuse(name: str) -> None:
    assert not is_domain(name)


@pytest.mark.parametrize(
    ("address", "literal"),
    [("192.0.2.1", "[192.0.2.1]"), ("2001:db8::1", "[IPv6:2001:db8::1]"), ("fe80::1%eth0", "[IPv6:fe80::1]")],
)
def test_gives_an_address_as_a_literal(address: str, literal: str) -> None:
    assert address_literal(address) == literal
