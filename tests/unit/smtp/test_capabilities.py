from __future__ import annotations

from smtpconnector_server.smtp.capabilities import Capabilities


def test_reads_what_gmail_says() -> None:
    capabilities = Capabilities.from_ehlo(
        [
            "SIZE 35882577",
            "8BITMIME",
            "AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH",
            "ENHANCEDSTATUSCODES",
            "PIPELINING",
            "CHUNKING",
            "SMTPUTF8",
        ],
        tls_version="TLSv1.3",
    )
    assert capabilities.extensions[0] == "SIZE 35882577"
    assert capabilities.auth_mechanisms == ("LOGIN", "PLAIN", "XOAUTH2", "PLAIN-CLIENTTOKEN", "OAUTHBEARER", "XOAUTH")
    assert capabilities.max_message_size == 35882577
    assert capabilities.tls_version == "TLSv1.3"
    assert capabilities.pipelining
    assert capabilities.chunking
    assert capabilities.smtputf8
    assert capabilities.eight_bit_mime
    assert not capabilities.starttls


def test_reads_the_old_way_to_offer_auth_and_counts_no_mechanism_twice() -> None:
    capabilities = Capabilities.from_ehlo(["AUTH=LOGIN PLAIN", "AUTH LOGIN PLAIN CRAM-MD5"])
    assert capabilities.auth_mechanisms == ("LOGIN", "PLAIN", "CRAM-MD5")
    assert capabilities.extensions == ("AUTH LOGIN PLAIN CRAM-MD5",)


def test_takes_keywords_in_any_case() -> None:
    assert Capabilities.from_ehlo(["pipelining", "starttls"]).pipelining


def test_takes_a_size_that_makes_no_sense_for_no_limit() -> None:
    for line in ("SIZE", "SIZE 0", "SIZE many", "SIZE -5", "SIZE " + "9" * 30, "SIZE \uff15"):
        capabilities = Capabilities.from_ehlo([line])
        assert capabilities.size
        assert capabilities.max_message_size == 0


def test_keeps_foreign_text_printable() -> None:
    capabilities = Capabilities.from_ehlo(["X-\x1b[31m é", "AUTH PL\x00AIN LOGIN"])
    assert all(text.isascii() and text.isprintable() for text in capabilities.extensions)
    assert capabilities.auth_mechanisms == ("LOGIN",)


def test_says_nothing_after_helo() -> None:
    assert Capabilities.from_ehlo([]) == Capabilities()
