from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import pytest
import trustme

from harness.certificates import ca_pem
from harness.configuration import check, connector, errors, said, the_finding
from harness.private_keys import client_certificate, encrypted
from smtpconnector_server.config.model import TlsOptions, TlsVersion
from smtpconnector_server.config.secret import Secret


def pbes2(*, iterations: str, salt: str = "00000000") -> bytes:
    """The beginning of an encrypted key by PBES2 (RFC 8018, appendix A.4)."""
    salt_length = f"{len(salt) // 2:02x}"
    return bytes.fromhex(
        f"3070306006092a864886f70d01050d3050302006092a864886f70d01050c303004{salt_length}{salt}{iterations}"
    )


def options(**tls: Any) -> TlsOptions:
    return connector(tls=tls).server.tls


def found(**tls: Any) -> list[tuple[str, str]]:
    return errors(check(tls=tls))


def test_nothing_said_means_the_defaults() -> None:
    assert options() == TlsOptions()
    assert options(rejectUnauthorized=True, ca=None, cert="", ciphers="") == TlsOptions()


def test_an_unchecked_certificate_is_said() -> None:
    checked = check(tls={"rejectUnauthorized": False})
    assert said(checked) == [("WARNING", "tls.rejectUnauthorized", "CERTIFICATE_NOT_CHECKED")]
    assert checked.connector is not None
    assert not checked.connector.server.tls.verify


def test_the_name_to_check_may_stand_in_two_places() -> None:
    assert connector(servername="a.example").server.tls.server_name == "a.example"
    both = connector(servername="a.example", tls={"servername": "b.example"})
    assert both.server.tls.server_name == "b.example"
    assert errors(check(servername="a b")) == [("servername", "INVALID_HOST")]
    assert found(servername="a:1") == [("tls.servername", "INVALID_HOST")]


class TestVersions:
    def test_have_nodes_names(self) -> None:
        tls = options(minVersion="TLSv1.3", maxVersion="TLSv1.3")
        assert (tls.min_version, tls.max_version) == (TlsVersion.TLS_1_3, TlsVersion.TLS_1_3)

    def test_of_other_names_are_refused(self) -> None:
        assert found(minVersion="1.2", maxVersion="TLSv1_2_method") == [
            ("tls.minVersion", "INVALID_VALUE"),
            ("tls.maxVersion", "INVALID_VALUE"),
        ]

    @pytest.mark.parametrize("tls", [{"minVersion": "TLSv1.3", "maxVersion": "TLSv1.2"}, {"maxVersion": "TLSv1.1"}])
    def test_must_leave_one(self, tls: dict[str, str]) -> None:
        assert found(**tls) == [("tls.maxVersion", "CONTRADICTION")]

    def test_that_are_broken_are_said(self) -> None:
        assert said(check(tls={"minVersion": "TLSv1"})) == [("WARNING", "tls.minVersion", "OLD_TLS_VERSION")]


class TestCiphers:
    def test_are_an_openssl_list(self) -> None:
        assert options(ciphers="ECDHE+AESGCM:!aNULL").ciphers == "ECDHE+AESGCM:!aNULL"

    @pytest.mark.parametrize("ciphers", ["no such cipher", "\x00", "ä"])
    def test_that_openssl_does_not_know_are_refused(self, ciphers: str) -> None:
        assert found(ciphers=ciphers) == [("tls.ciphers", "INVALID_VALUE")]

    def test_of_tls_1_3_cannot_be_chosen(self) -> None:
        checked = check(tls={"ciphers": "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256"})
        assert said(checked) == [("WARNING", "tls.ciphers", "NO_EFFECT")]
        assert checked.connector is not None
        assert checked.connector.server.tls.ciphers == "ECDHE-RSA-AES128-GCM-SHA256"
        assert connector(tls={"ciphers": "TLS_AES_128_GCM_SHA256"}).server.tls.ciphers is None


class TestPem:
    def test_of_authorities_is_text_or_a_list_of_it(self) -> None:
        one, other = ca_pem(), trustme.CA().cert_pem.bytes().decode()
        assert options(ca=one).ca_pem == one
        assert options(ca=[one, other]).ca_pem == f"{one}\n{other}"
        assert options(ca=[]).ca_pem is None

    @pytest.mark.parametrize(
        "path",
        [
            *("/etc/ssl/ca.pem", "./ca.crt", "../ca", "~/ca.pem", "ca.pem", "C:\\ca.cer", "\\\\host\\ca", "file:///ca"),
            *("/dev/zero", "/proc/self/environ"),
        ],
    )
    def test_is_never_a_path(self, path: str) -> None:
        tls = {"ca": path, "cert": path, "key": path}
        assert found(**tls) == [(f"tls.{key}", "PATH_NOT_ALLOWED") for key in ("cert", "key", "ca")]

    def test_that_is_none_is_refused(self) -> None:
        damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        assert found(ca="x") == [("tls.ca", "NOT_PEM")]
        assert found(ca=damaged) == [("tls.ca", "INVALID_CERTIFICATE")]
        assert found(cert=ca_pem(), key=ca_pem()) == [("tls.key", "INVALID_PRIVATE_KEY")]

    def test_that_has_expired_is_said(self) -> None:
        day = dt.timedelta(days=1)
        now = dt.datetime.now(dt.UTC)
        certificate = trustme.CA().issue_cert("x.example", not_before=now - 2 * day, not_after=now - day)
        pem = certificate.cert_chain_pems[0].bytes().decode()
        assert said(check(tls={"ca": pem})) == [("WARNING", "tls.ca", "CERTIFICATE_EXPIRED")]


class TestClientCertificate:
    def test_is_a_certificate_with_its_key(self) -> None:
        cert, key = client_certificate()
        tls = options(cert=cert, key=key)
        assert (tls.client_cert_pem, tls.client_key_pem, tls.client_key_passphrase) == (cert, Secret(key), None)
        assert options(cert=[cert], key={"pem": key}) == tls

    @pytest.mark.parametrize("form", ["beside", "inside"])
    def test_may_have_an_encrypted_key(self, form: str) -> None:
        cert, key = client_certificate()
        locked = encrypted(key, "open sesame")
        tls: dict[str, Any] = {"key": {"pem": locked, "passphrase": "open sesame"}}
        if form == "beside":
            tls = {"key": locked, "passphrase": "open sesame"}
        assert options(cert=cert, **tls).client_key_passphrase == Secret("open sesame")

    def test_with_an_encrypted_key_needs_its_passphrase(self) -> None:
        cert, key = client_certificate()
        locked = encrypted(key, "open sesame")
        assert found(cert=cert, key=locked) == [("tls.passphrase", "MISSING_FIELD")]
        assert found(cert=cert, key=locked, passphrase="no") == [("tls.key", "INVALID_PRIVATE_KEY")]

    def test_is_whole_or_a_fault(self) -> None:
        cert, key = client_certificate()
        assert found(cert=cert) == [("tls.key", "MISSING_FIELD")]
        assert found(key=key) == [("tls.cert", "MISSING_FIELD")]
        assert found(cert=cert, key={"passphrase": "x"}) == [("tls.key.pem", "MISSING_FIELD")]

    def test_has_its_own_key(self) -> None:
        cert, _ = client_certificate()
        other = trustme.CA().issue_cert("other.example").private_key_pem.bytes().decode()
        assert found(cert=cert, key=other) == [("tls.key", "KEY_MISMATCH")]

    @pytest.mark.parametrize(
        "derivation",
        [
            pbes2(iterations="02047fffffff"),  # 2,147,483,647: an hour
            pbes2(iterations="02047fffffff", salt=pbes2(iterations="020101").hex()),  # a fast one within
            bytes.fromhex("3030302e06092b06010401da470411"),  # scrypt, whose cost may be any
            b"",
        ],
    )
    def test_with_a_key_that_takes_long_to_open_is_refused_at_once(self, derivation: bytes) -> None:
        cert, _ = client_certificate()
        body = base64.encodebytes(derivation).decode()
        key = f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n"
        checked = check(tls={"cert": cert, "key": key, "passphrase": "x"})
        assert "iterations" in the_finding(checked, "tls.key").message
        account = {"user": "u", "serviceClient": "s", "privateKey": {"key": key, "passphrase": "x"}}
        assert "iterations" in the_finding(check(auth=account), "auth.privateKey.key").message
