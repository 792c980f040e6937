from __future__ import annotations

from typing import Any

import pytest

from harness.configuration import check, check_profile, connector, document, errors, said, the_finding
from harness.documents import plain_templates
from smtpconnector_server.config.document import read_document
from smtpconnector_server.config.model import LoginAuth, PoolLimits, Timeouts, TlsMode
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.config.secret import Secret


def test_a_good_document_becomes_a_configuration_without_a_word() -> None:
    checked = check()
    assert checked.findings == ()
    assert checked.connector is not None
    server = checked.connector.server
    assert (server.host, server.port, server.tls_mode) == ("smtp.example.com", 587, TlsMode.STARTTLS_OFFERED)
    assert server.auth == LoginAuth(user="ada@example.com", password=Secret("hunter-two"))
    assert str(checked.connector.from_email.address) == "ada@example.com"
    assert checked.connector.from_email.name == "Ada"
    assert [template.usage_type for template in checked.connector.templates] == [
        *("Register", "SignIn", "ForgotPassword", "Generic")
    ]


@pytest.mark.parametrize("value", [None, [], "text", 5, True])
def test_what_is_no_object_is_refused(value: Any) -> None:
    assert errors(read_document(value, origin=Origin.CALLER)) == [("", "WRONG_TYPE")]


def test_every_wrong_type_is_told_at_once_with_what_else_is_wrong() -> None:
    checked = check(
        host=5,
        port="x",
        secure="true",
        templates=[{**plain_templates()[0], "contentType": "text/markdown"}, None, 3, *plain_templates()],
        customHeaders={"X-A": 1, "X-B": ["a", 2]},
        connectionTimeout="1000",
        requireTLS=True,
        ignoreTLS=True,
        fromEmail="nobody",
    )
    assert set(errors(checked)) == {
        ("host", "WRONG_TYPE"),
        ("port", "INVALID_VALUE"),
        ("secure", "WRONG_TYPE"),
        ("templates[0].contentType", "INVALID_VALUE"),
        ("templates[1]", "WRONG_TYPE"),
        ("templates[2]", "WRONG_TYPE"),
        ("customHeaders.X-A", "WRONG_TYPE"),
        ("customHeaders.X-B[1]", "WRONG_TYPE"),
        ("connectionTimeout", "WRONG_TYPE"),
        ("ignoreTLS", "CONTRADICTION"),
        ("fromEmail", "INVALID_ADDRESS"),
    }


def test_what_is_missing_is_told_once() -> None:
    checked = read_document({}, origin=Origin.CALLER)
    assert set(errors(checked)) == {
        ("host", "MISSING_FIELD"),
        ("auth", "MISSING_FIELD"),
        ("fromEmail", "MISSING_FIELD"),
        ("templates", "MISSING_TEMPLATE"),
    }


def test_null_and_empty_text_mean_absent() -> None:
    absent = dict.fromkeys(
        ("replyTo", "name", "localAddress", "servername", "secure", "tls", "customHeaders", "dnsTimeout", "service")
    )
    assert check(**absent).findings == ()
    empty: dict[str, Any] = dict.fromkeys(("replyTo", "name", "localAddress", "servername", "service"), "")
    assert check(**empty, port="").findings == ()


class TestPort:
    @pytest.mark.parametrize("port", [2525, 2525.0, "2525", " 2525 "])
    def test_is_a_number_or_its_digits(self, port: Any) -> None:
        assert connector(port=port).server.port == 2525

    @pytest.mark.parametrize("absent", [..., None, 0, ""])
    @pytest.mark.parametrize(("secure", "port"), [(True, 465), (False, 587), (None, 587)])
    def test_has_the_default_of_the_tls_mode(self, absent: Any, secure: Any, port: int) -> None:
        assert connector(port=absent, secure=secure).server.port == port

    @pytest.mark.parametrize("port", [-1, 65536, 25.5, "65536", "0x19", "smtp", True, 1e300])
    def test_is_refused_beyond_its_range(self, port: Any) -> None:
        assert [field for field, _ in errors(check(port=port))] == ["port"]


class TestTlsMode:
    @pytest.mark.parametrize(
        ("changes", "mode"),
        [
            ({"secure": True, "port": 465}, TlsMode.IMPLICIT),
            ({"port": 465}, TlsMode.IMPLICIT),
            ({"port": 465, "requireTLS": True}, TlsMode.IMPLICIT),
            ({"secure": True, "port": 465, "requireTLS": True}, TlsMode.IMPLICIT),
            ({"requireTLS": True}, TlsMode.STARTTLS_REQUIRED),
            ({"ignoreTLS": True}, TlsMode.DISABLED),
            ({"secure": False}, TlsMode.STARTTLS_OFFERED),
            ({"secure": False, "ignoreTLS": False, "requireTLS": False}, TlsMode.STARTTLS_OFFERED),
            ({}, TlsMode.STARTTLS_OFFERED),
        ],
    )
    def test_follows_nodemailer(self, changes: dict[str, Any], mode: TlsMode) -> None:
        assert connector(**changes).server.tls_mode is mode

    @pytest.mark.parametrize(
        "changes",
        [
            {"requireTLS": True, "ignoreTLS": True},
            {"secure": True, "ignoreTLS": True, "port": 465},
            {"ignoreTLS": True, "port": 465},
        ],
    )
    def test_contradictions_are_errors(self, changes: dict[str, Any]) -> None:
        assert ("ignoreTLS", "CONTRADICTION") in errors(check(**changes))

    @pytest.mark.parametrize(
        "changes", [{"secure": True}, {"secure": True, "port": 25}, {"secure": False, "port": 465}]
    )
    def test_a_port_that_cannot_go_with_it_is_said(self, changes: dict[str, Any]) -> None:
        assert said(check(**changes)) == [("WARNING", "secure", "TLS_PORT_MISMATCH")]
        assert errors(check(**changes, host="smtp.gmail.com")) == [("secure", "TLS_PORT_MISMATCH")]

    def test_credentials_in_the_clear_are_said(self) -> None:
        assert said(check(ignoreTLS=True)) == [("WARNING", "ignoreTLS", "CLEARTEXT_CREDENTIALS")]
        assert check(ignoreTLS=True, auth={}).findings == ()


class TestHost:
    @pytest.mark.parametrize(
        ("host", "wire"),
        [
            ("SMTP.Example.COM.", "smtp.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("[::1]", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
            ("mail_server", "mail_server"),
        ],
    )
    def test_becomes_what_goes_on_the_wire(self, host: str, wire: str) -> None:
        assert connector(host=host).server.host == wire

    @pytest.mark.parametrize(
        "host",
        [
            *("smtps://smtp.example.com", "smtp.example.com:465", "smtp.example.com/x", "ada@example.com", "a b"),
            *(
                "a\r\nb",
                "a..b",
                "-a.example",
                "127.1",
                "0x7f.1",
                "2130706433",
                "\uff11\uff12\uff17.0.0.1",
                "fe80::1%eth0",
            ),
            *("a" * 64, ".".join(["a" * 60] * 5), "xn--a-ä.example"),
        ],
    )
    def test_is_refused_when_it_is_none(self, host: str) -> None:
        assert [field for field, _ in errors(check(host=host))] == ["host"]

    def test_of_the_client_is_a_domain_or_an_address_literal(self) -> None:
        assert connector(name="Mail.Example.com").server.client_hostname == "mail.example.com"
        assert connector(name="192.0.2.1").server.client_hostname == "[192.0.2.1]"
        assert connector(name="[IPv6:2001:db8::1]").server.client_hostname == "[IPv6:2001:db8::1]"

    @pytest.mark.parametrize("name", ["münchen.example", "a XCLIENT ADDR=192.0.2.1", "my_host", "[nothing]", "a\nb"])
    def test_of_the_client_is_refused_when_servers_would(self, name: str) -> None:
        assert errors(check(name=name)) == [("name", "INVALID_HOST")]

    def test_of_the_client_that_is_not_ascii_is_answered_with_its_ascii_form(self) -> None:
        assert "xn--mnchen-3ya.example" in the_finding(check(name="münchen.example"), "name").hint

    def test_to_connect_from_is_an_ip_address(self) -> None:
        assert connector(localAddress="127.0.0.1").server.local_address == "127.0.0.1"
        assert errors(check(localAddress="eth0")) == [("localAddress", "INVALID_VALUE")]


class TestTimeouts:
    def test_are_milliseconds_and_each_has_its_own_meaning(self) -> None:
        timeouts = connector(
            dnsTimeout=1000, connectionTimeout=2000, greetingTimeout=3000.5, socketTimeout=3_600_000
        ).server.timeouts
        assert timeouts == Timeouts(dns=1.0, connection=2.0, greeting=3.0005, socket=3600.0)

    @pytest.mark.parametrize("absent", [0, None, ...])
    def test_have_defaults(self, absent: Any) -> None:
        keys = ("dnsTimeout", "connectionTimeout", "greetingTimeout", "socketTimeout")
        assert connector(**dict.fromkeys(keys, absent)).server.timeouts == Timeouts()

    @pytest.mark.parametrize("value", [-1, 3_600_001, "1000", True])
    def test_are_refused_beyond_their_range(self, value: Any) -> None:
        assert [field for field, _ in errors(check(socketTimeout=value))] == ["socketTimeout"]

    def test_in_seconds_by_mistake_are_noticed(self) -> None:
        assert said(check(connectionTimeout=30)) == [("WARNING", "connectionTimeout", "SHORT_TIMEOUT")]


class TestPool:
    def test_has_nodemailers_keys(self) -> None:
        server = connector(pool=True, maxConnections=2, maxMessages=7, idleTimeout=2000, singleFlight=True).server
        assert (server.pool.max_connections, server.pool.max_messages, server.pool.idle_seconds) == (2, 7, 2.0)
        assert server.single_flight

    def test_has_defaults(self) -> None:
        server = connector(maxConnections=0, maxMessages=None).server
        assert server.pool == PoolLimits()
        assert not server.single_flight

    def test_is_bounded(self) -> None:
        checked = check(maxConnections=1000, maxMessages=10**6, rateLimit=10**6)
        assert said(checked) == [
            ("WARNING", "maxConnections", "TOO_LARGE"),
            ("WARNING", "maxMessages", "TOO_LARGE"),
            ("WARNING", "rateLimit", "TOO_LARGE"),
        ]
        assert checked.connector is not None
        assert checked.connector.server.pool.max_connections == 100
        assert checked.connector.server.pool.rate_limit == 100_000
        assert errors(check(rateLimit=1, rateDelta=86_400_001)) == [("rateDelta", "OUT_OF_RANGE")]

    def test_goes_at_nodemailers_rates(self) -> None:
        pool = connector(rateLimit=5, rateDelta=60_000).server.pool
        assert (pool.rate_limit, pool.rate_seconds) == (5, 60.0)
        pool = connector(rateLimit=5).server.pool
        assert (pool.rate_limit, pool.rate_seconds) == (5, 1.0)
        assert connector(rateLimit=0, rateDelta=0).server.pool == PoolLimits()
        assert said(check(rateDelta=500)) == [("WARNING", "rateDelta", "NO_EFFECT")]

    def test_cannot_be_switched_off(self) -> None:
        assert said(check(pool=False)) == [("WARNING", "pool", "NO_EFFECT")]


class TestCustomHeaders:
    def test_are_text_or_lists_in_order_and_empty_ones_are_left_out(self) -> None:
        headers = connector(customHeaders={"X-A": "1", "X-B": ["2", "", "3"], "X-C": "", "X-D": None}).custom_headers
        assert headers == (("X-A", "1"), ("X-B", "2"), ("X-B", "3"))

    @pytest.mark.parametrize("name", ["To", "bcc", "Content-Type", "X A", "X:A", "X-A\r\nBcc", "", "Ünï"])
    def test_have_free_names(self, name: str) -> None:
        checked = check(customHeaders={name: "x"})
        assert [reason for _, reason in errors(checked)] == ["INVALID_HEADER"]

    @pytest.mark.parametrize("value", ["a\r\nBcc: x@y.z", "a\x00", "a\u2028b", "a\x85"])
    def test_stay_on_their_line(self, value: str) -> None:
        assert errors(check(customHeaders={"X-A": ["fine", value]})) == [("customHeaders.X-A[1]", "INVALID_HEADER")]

    def test_are_fifty_at_most(self) -> None:
        assert check(customHeaders={"X-A": ["x"] * 50}).findings == ()
        assert errors(check(customHeaders={"X-A": ["x"] * 51})) == [("customHeaders", "TOO_LARGE")]

    def test_are_not_to_be_named_by_a_file(self) -> None:
        assert connector(customHeaders={"file": "x"}).custom_headers == (("file", "x"),)


class TestOtherKeys:
    def test_get_the_nearest_known_one(self) -> None:
        for key, near in (("Host", "host"), ("fromemail", "fromEmail"), ("reply_to", "replyTo"), ("from", "fromEmail")):
            finding = the_finding(check(**{key: "x"}), key)
            assert (finding.severity.name, finding.reason) == ("WARNING", "UNKNOWN_KEY")
            assert near in finding.hint
        assert the_finding(check(quux=1), "quux").hint == "Remove it."

    def test_inside_objects_have_their_paths(self) -> None:
        checked = check(
            tls={"foo": 1}, auth={"user": "u", "pass": "p", "foo": 1}, templates=[{**plain_templates()[0], "foo": 1}]
        )
        assert {("WARNING", "tls.foo", "UNKNOWN_KEY"), ("WARNING", "auth.foo", "UNKNOWN_KEY")} < set(said(checked))
        assert ("WARNING", "templates[0].foo", "UNKNOWN_KEY") in said(checked)

    @pytest.mark.parametrize(
        "key",
        [
            *("opportunisticTLS", "forceAuth", "transactionLog", "component", "maxRequeues", "maxResponseSize"),
            *(
                "socketCloseTimeout",
                "allowInternalNetworkInterfaces",
                "encoding",
                "textEncoding",
                "newline",
                "priority",
            ),
            *("attachDataUrls", "list", "xMailer", "logger", "debug", "customAuth", "getSocket"),
        ],
    )
    def test_of_nodemailer_without_effect_are_said_to_have_none(self, key: str) -> None:
        assert said(check(**{key: True})) == [("WARNING", key, "NO_EFFECT")]
        assert check(**{key: False}).findings == ()

    @pytest.mark.parametrize("key", ["customParams", "customHeaders", "tls"])
    def test_of_nodemailer_whose_feature_is_not_there_yet_say_so(self, key: str) -> None:
        auth = {"type": "OAuth2", "user": "u", "accessToken": "t", key: {"x": 1}}
        assert said(check(auth=auth)) == [("WARNING", f"auth.{key}", "NOT_SUPPORTED_YET")]

    @pytest.mark.parametrize(
        "key",
        [
            *("proxy", "lmtp", "url", "sendmail", "streamTransport", "jsonTransport", "SES"),
            "requireTLSExtensionEnabled",
        ],
    )
    def test_that_would_be_dangerous_to_ignore_are_errors(self, key: str) -> None:
        assert errors(check(**{key: "smtp://elsewhere.example"})) == [(key, "NOT_SUPPORTED")]
        assert check(**{key: False}).findings == ()

    @pytest.mark.parametrize("key", ["logger", "debug"])
    def test_that_have_the_dialogue_logged_are_an_operators(self, key: str) -> None:
        assert not connector(**{key: True}).server.transcript
        in_profile = check_profile(**{key: True})
        assert in_profile.findings == ()
        assert in_profile.connector is not None
        assert in_profile.connector.server.transcript
        without = check_profile(**{key: False})
        assert without.connector is not None
        assert not without.connector.server.transcript

    @pytest.mark.parametrize("key", ["disableFileAccess", "disableUrlAccess", "logger", "debug"])
    def test_of_logtos_form_are_no_reason_to_talk_as_it_sends_them(self, key: str) -> None:
        assert check(**{key: False}).findings == ()

    def test_are_told_in_hundreds_only(self) -> None:
        checked = check(**{f"key{index}": 1 for index in range(1000)})
        assert len(checked.findings) == 201
        assert checked.findings[-1].reason == "MORE_FINDINGS"
        assert checked.connector is not None

    def test_with_strange_names_are_quoted_and_cut_short(self) -> None:
        checked = check(**{"a\r\nb" + "x" * 100: 1})
        assert checked.findings[0].field == '["a\\r\\nb' + "x" * 60 + '"]'


class TestOldDocuments:
    """As the seeds of 2022 have them: user name and password on the top level, and the usage type Test."""

    def old_document(self, *usage_types: str) -> dict[str, Any]:
        templates = [{**plain_templates()[0], "usageType": usage_type} for usage_type in usage_types]
        return document(auth=..., username="ada@example.com", password="hunter-two", port="587", templates=templates)

    def test_work_once_their_templates_are_complete(self) -> None:
        checked = read_document(
            self.old_document("Register", "SignIn", "Test", "ForgotPassword", "Generic"), origin=Origin.CALLER
        )
        assert said(checked) == [("WARNING", "username", "OLD_FORM")]
        assert checked.connector is not None
        assert checked.connector.server.auth == LoginAuth(user="ada@example.com", password=Secret("hunter-two"))
        assert "Test" in {template.usage_type for template in checked.connector.templates}

    def test_are_told_exactly_what_to_add(self) -> None:
        checked = read_document(self.old_document("Register", "SignIn", "Test"), origin=Origin.CALLER)
        assert errors(checked) == [("templates", "MISSING_TEMPLATE")]
        finding = the_finding(checked, "templates")
        assert "ForgotPassword, Generic" in finding.message
        assert '"usageType": "ForgotPassword"' in finding.hint
        assert "Test" in finding.hint

    def test_half_credentials_have_the_old_paths(self) -> None:
        assert ("password", "HALF_CREDENTIALS") in errors(check(auth=..., username="ada@example.com"))

    def test_auth_wins_over_the_old_keys(self) -> None:
        checked = check(username="old", password="old")
        assert said(checked) == [("WARNING", "username", "NO_EFFECT"), ("WARNING", "password", "NO_EFFECT")]
        assert checked.connector is not None
        assert checked.connector.server.auth == LoginAuth(user="ada@example.com", password=Secret("hunter-two"))

    def test_a_seed_as_it_is_printed_is_told_what_to_fill_in(self) -> None:
        seed = {
            "host": "smtp.gmail.com",
            "port": 587,
            "username": "<your-gmail-address>",
            "password": "<password-to-previous-gmail-address>",
            "fromEmail": "<your-gmail-address>",
            "templates": [
                {
                    "subject": "<register-template-subject>",
                    "content": "<Logto: Your passcode is {{code}}. (regitser template)>",
                    "usageType": "Register",
                    "contentType": "text/plain",
                }
            ],
        }
        checked = read_document(seed, origin=Origin.CALLER)
        assert set(errors(checked)) == {
            ("username", "PLACEHOLDER_TEXT"),
            ("password", "PLACEHOLDER_TEXT"),
            ("fromEmail", "PLACEHOLDER_TEXT"),
            ("templates", "MISSING_TEMPLATE"),
        }
        assert {
            ("WARNING", "templates[0].subject", "PLACEHOLDER_TEXT"),
            ("WARNING", "templates[0].content", "PLACEHOLDER_TEXT"),
        } < set(said(checked))


class TestSender:
    @pytest.mark.parametrize("sender", ["a@b.example", "<a@b.example>", "Name <a@b.example>", '"A, B" <a@b.example>'])
    def test_is_a_mailbox(self, sender: str) -> None:
        assert str(connector(fromEmail=sender, replyTo=sender).from_email.address) == "a@b.example"

    @pytest.mark.parametrize("sender", ["x", "a@b.example\r\nBcc: c@d.example", "@", "Name", "a@b.example, x"])
    def test_is_refused_when_it_is_none(self, sender: str) -> None:
        assert errors(check(fromEmail=sender, replyTo=sender)) == [
            ("fromEmail", "INVALID_ADDRESS"),
            ("replyTo", "INVALID_ADDRESS"),
        ]

    def test_is_one_and_answers_may_go_to_several(self) -> None:
        several = "a@b.example, Doe, John <c@d.example>"
        assert [mailbox.name for mailbox in connector(replyTo=several).reply_to] == ["", "Doe, John"]
        assert errors(check(fromEmail=several)) == [("fromEmail", "INVALID_ADDRESS")]

    def test_has_no_placeholders(self) -> None:
        checked = check(fromEmail="{{application.name}} <ada@example.com>")
        assert said(checked) == [("WARNING", "fromEmail", "NO_EFFECT")]


def test_a_variable_in_a_callers_document_stays_as_it_is_and_is_noticed() -> None:
    checked = check(auth={"user": "ada@example.com", "pass": "${SMTP_PASSWORD}"})
    assert said(checked) == [("WARNING", "auth.pass", "VARIABLE_NOT_REPLACED")]
    assert checked.connector is not None
    assert checked.connector.server.auth == LoginAuth(user="ada@example.com", password=Secret("${SMTP_PASSWORD}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"host": {"file": "/etc/passwd"}},
        {"auth": {"user": "u", "pass": {"file": "/run/secrets/password"}}},
        {"tls": {"ca": {"file": "ca.pem"}}},
        {"tls": {"key": {"file": "key.pem"}}},
        {"tls": {"file": "tls.json"}},
        {"auth": {"type": "oauth2", "user": "u", "serviceClient": "s", "privateKey": {"file": "key.pem"}}},
        {"templates": [{**plain_templates()[0], "content": {"file": "register.html"}}]},
    ],
)
def test_a_file_in_a_callers_document_is_refused(changes: dict[str, Any]) -> None:
    reasons = {reason for _, reason in errors(check(**changes))}
    assert reasons & {"NOT_ALLOWED", "NOT_SUPPORTED"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x": "y" * 1024 * 1024}, "TOO_LARGE"),
        ({"x": [1] * 20_000}, "TOO_LARGE"),
        ({"x": float("nan")}, "OUT_OF_RANGE"),
        ({"x": "\ud800"}, "INVALID_TEXT"),
        ({"x": object()}, "WRONG_TYPE"),
    ],
)
def test_an_object_that_is_not_plain_json_of_a_bearable_size_is_not_read(changes: dict[str, Any], reason: str) -> None:
    assert [found for _, found in errors(check(**changes))] == [reason]


def test_an_object_that_is_nested_without_end_is_not_read() -> None:
    nested: Any = 1
    for _ in range(5000):
        nested = [nested]
    assert errors(check(x=nested)) == [("", "TOO_LARGE")]


def test_only_an_operator_may_switch_escaping_off() -> None:
    html = {"usageType": "Register", "contentType": "text/html", "subject": "s", "content": "<p>{{code}}</p>"}
    templates = [{**html, "escape": False}, *plain_templates()[1:]]
    assert errors(check(templates=templates)) == [("templates[0].escape", "NOT_ALLOWED")]
    checked = check_profile(templates=templates)
    assert said(checked) == [("WARNING", "templates[0].escape", "NOT_ESCAPED")]
    assert checked.connector is not None
    assert not checked.connector.templates[0].escape
