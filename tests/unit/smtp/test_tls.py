from __future__ import annotations

import ssl
import sys

import pytest
import trustme

from smtpconnector_server.config.model import TlsOptions, TlsVersion
from smtpconnector_server.config.secret import Secret
from smtpconnector_server.smtp.tls import TlsContexts, build_context

CA = trustme.CA()
LEAF = CA.issue_cert("client.example")
CA_PEM = CA.cert_pem.bytes().decode()
CERT = LEAF.cert_chain_pems[0].bytes().decode()
KEY = LEAF.private_key_pem.bytes().decode()
OTHER_KEY = CA.issue_cert("other.example").private_key_pem.bytes().decode()


def test_checks_certificates_and_names_by_default() -> None:
    context = build_context(TlsOptions())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.hostname_checks_common_name
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_trusts_only_the_given_roots() -> None:
    assert len(build_context(TlsOptions(ca_pem=CA_PEM)).get_ca_certs()) == 1


def test_accepts_any_certificate_only_when_told_to() -> None:
    context = build_context(TlsOptions(verify=False))
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


@pytest.mark.parametrize(
    ("options", "lowest", "highest"),
    [
        (TlsOptions(min_version=TlsVersion.TLS_1_3), ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED),
        (TlsOptions(max_version=TlsVersion.TLS_1_2), ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
        (TlsOptions(min_version=TlsVersion.TLS_1_0), ssl.TLSVersion.TLSv1, ssl.TLSVersion.MAXIMUM_SUPPORTED),
    ],
)
def test_keeps_to_the_given_versions(options: TlsOptions, lowest: ssl.TLSVersion, highest: ssl.TLSVersion) -> None:
    context = build_context(options)
    assert (context.minimum_version, context.maximum_version) == (lowest, highest)


def test_shows_a_client_certificate_without_leaving_a_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    build_context(TlsOptions(client_cert_pem=CERT, client_key_pem=Secret(KEY)))
    build_context(TlsOptions(client_cert_pem=CERT + KEY))
    assert not list(tmp_path.iterdir())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (TlsOptions(ca_pem="/etc/passwd"), "ca_pem"),
        (TlsOptions(ca_pem="/dev/zero"), "ca_pem"),
        (TlsOptions(ca_pem=""), "ca_pem"),
        (TlsOptions(ca_pem="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "ca_pem"),
        (TlsOptions(ca_pem=KEY), "ca_pem"),
        (TlsOptions(ca_pem="-----BEGIN CERTIFICATE-----\né"), "ca_pem"),
        (TlsOptions(client_cert_pem="/etc/passwd", client_key_pem=Secret(KEY)), "client_cert_pem"),
        (TlsOptions(client_cert_pem=CERT, client_key_pem=Secret("/etc/shadow")), "client_key_pem"),
        (TlsOptions(client_cert_pem=CERT, client_key_pem=Secret(OTHER_KEY)), "client_key_pem"),
        (TlsOptions(client_cert_pem=CERT), "client_key_pem"),
        (TlsOptions(client_key_pem=Secret(KEY)), "client_key_pem"),
        (TlsOptions(ciphers="NO-SUCH-CIPHER"), "ciphers"),
        (TlsOptions(min_version=TlsVersion.TLS_1_3, max_version=TlsVersion.TLS_1_2), "max_version"),
    ],
)
def test_names_the_option_that_cannot_be_used_and_opens_no_path(options: TlsOptions, field: str) -> None:
    opened: list[str] = []
    given = {options.ca_pem, options.client_cert_pem, "/etc/shadow"}
    active = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if active and event == "open" and arguments[0] in given:
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    try:
        with pytest.raises(ValueError, match=field) as raised:
            build_context(options)
    finally:
        active = False
    assert not opened
    assert "/etc" not in str(raised.value)


def test_an_encrypted_key_needs_its_passphrase_and_nobody_is_asked_for_it() -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - trustme brings it

    key = serialization.load_pem_private_key(KEY.encode(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    ).decode()
    options = TlsOptions(client_cert_pem=CERT, client_key_pem=Secret(encrypted))
    with pytest.raises(ValueError, match="passphrase"):
        build_context(options)
    build_context(
        TlsOptions(client_cert_pem=CERT, client_key_pem=Secret(encrypted), client_key_passphrase=Secret("open sesame"))
    )


async def test_builds_a_context_once_per_options() -> None:
    contexts = TlsContexts()
    first = await contexts.get(TlsOptions(ca_pem=CA_PEM))
    assert await contexts.get(TlsOptions(ca_pem=CA_PEM)) is first
    assert await contexts.get(TlsOptions(ca_pem=CA_PEM, verify=False)) is not first
