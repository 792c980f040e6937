from __future__ import annotations

import email.policy
import email.utils
import json
import re
from email.errors import NonASCIILocalPartDefect
from email.message import EmailMessage
from email.parser import BytesParser, Parser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.message.address import parse_address, parse_mailbox, parse_mailboxes
from smtpconnector_server.message.custom_header import HeaderError
from smtpconnector_server.message.mail import Composer, Mail, new_message_id
from smtpconnector_server.message.selection import select_template
from smtpconnector_server.message.template import ContentType, Template, compile_template
from smtpconnector_server.message.text_rule import BODY_TEXT, HEADER_TEXT

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "logto-smtp-send.json").read_text(encoding="utf-8"))
DATE = 1_795_219_200.5
MESSAGE_ID = "<0123456789abcdef0123456789abcdef@example.com>"
OWN_HEADERS = ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
MIB = 1024 * 1024


def compose(
    payload: dict[str, Any] | None = None,
    *,
    to: str = "user@example.com",
    sender: str = "Acme <notice@example.com>",
    answers_to: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    opaque: bool = False,
    **changes: Any,
) -> Mail:
    fields = {
        "usage_type": "SignIn",
        "content_type": ContentType.PLAIN,
        "subject": "Your code",
        "content": "Code {{code}}",
        **changes,
    }
    composer = Composer(parse_mailbox(sender), parse_mailboxes(answers_to) if answers_to else (), headers)
    return composer.compose(
        compile_template(Template(**fields)),
        parse_address(to),
        payload or {},
        date=DATE,
        message_id=MESSAGE_ID,
        opaque=opaque,
    )


def refused(payload: dict[str, Any], **fields: Any) -> list[str]:
    with pytest.raises(Failure) as raised:
        compose(payload, **fields)
    failure = raised.value
    assert (failure.reason, failure.stage) == (Reason.INVALID_REQUEST, Stage.COMPOSE)
    assert failure.outcome is Outcome.NOT_SENT
    return [violation.field for violation in failure.violations]


def read(mail: Mail) -> EmailMessage:
    """Return the mail as a strict reader sees it, after a look at its octets."""
    lines = mail.octets.split(b"\r\n")
    assert lines[-1] == b""
    assert max(map(len, lines)) <= 998
    assert all(b"\r" not in line and b"\n" not in line and b"\0" not in line for line in lines)
    if mail.needs_smtputf8:  # the standard library reads UTF-8 in headers from str only
        message = Parser(policy=email.policy.SMTPUTF8).parsestr(mail.octets.decode("utf-8"))
    else:
        message = BytesParser(policy=email.policy.default).parsebytes(mail.octets)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert not part.defects
        defects = [defect for value in part.values() for defect in value.defects]
        assert all(mail.needs_smtputf8 and isinstance(defect, NonASCIILocalPartDefect) for defect in defects)
    if not mail.needs_smtputf8:
        assert mail.octets.isascii()
    return message


def text_of(message: EmailMessage | None) -> str:
    assert message is not None
    return message.get_content().replace("\r\n", "\n").removesuffix("\n")


# What Logto sends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["id"])
def test_a_mail_is_the_one_that_logto_sends(vector: dict[str, Any]) -> None:
    config = VECTORS["base_config"] | vector.get("config_patch", {})
    templates = [as_template(given) for given in config["templates"]]
    message = vector["message"]
    own = vector.get("i18n_template")
    template = as_template(own) if own else select_template(templates, message["type"])
    headers = [
        (name, value)
        for name, values in config["customHeaders"].items()
        for value in (values if isinstance(values, list) else [values])
    ]
    composer = Composer(parse_mailbox(config["fromEmail"]), (), headers)
    # The vectors' recipients are single words, which are no addresses.
    to = parse_address(f"{message['to']}@example.com")
    mail = composer.compose(compile_template(template), to, message["payload"], date=DATE, message_id=MESSAGE_ID)

    expected = vector["expected"]
    sent = read(mail)
    assert sent["From"] == expected["from"].removeprefix("<").removesuffix(">") or sent["From"] == expected["from"]
    assert mail.sender == "notice@test.smtp"
    assert mail.recipient == sent["To"] == f"{expected['to']}@example.com"
    assert sent["Subject"] == expected["subject"]
    assert text_of(sent) == expected["text"]
    assert sent["Reply-To"] == expected.get("replyTo")
    for name, values in expected.get("headers", {}).items():
        assert sent.get_all(name) == (values if isinstance(values, list) else [values])


def as_template(given: dict[str, str]) -> Template:
    return Template(
        usage_type=given.get("usageType", ""),
        content_type=ContentType(given["contentType"]),
        subject=given["subject"],
        content=given["content"],
        reply_to=given.get("replyTo"),
        send_from=given.get("sendFrom"),
    )


# The form of a mail --------------------------------------------------------------------------------------------------


def test_a_plain_mail_is_written_octet_for_octet() -> None:
    mail = compose({"code": "123456"}, answers_to="help@example.com", headers=(("X-Tag", "code"), ("X-Tag", "a")))

    assert mail.octets == (
        b"Date: Sat, 21 Nov 2026 00:00:00 +0000\r\n"
        b"From: Acme <notice@example.com>\r\n"
        b"To: user@example.com\r\n"
        b"Reply-To: help@example.com\r\n"
        b"Subject: Your code\r\n"
        b"Message-ID: <0123456789abcdef0123456789abcdef@example.com>\r\n"
        b"Auto-Submitted: auto-generated\r\n"
        b"X-Tag: code\r\n"
        b"X-Tag: a\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Code 123456\r\n"
    )
    assert (mail.sender, mail.recipient, mail.message_id) == ("notice@example.com", "user@example.com", MESSAGE_ID)
    assert (mail.needs_smtputf8, mail.opaque) == (False, False)


def test_text_beside_html_comes_first_and_both_are_read_back() -> None:
    message = read(
        compose(
            {"name": "<b> & \u00e9"},
            content_type=ContentType.HTML,
            content="<p>Hello {{name}}</p>",
            text_content="Hello {{name}}",
        )
    )

    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [text_of(part) for part in parts] == ["Hello <b> & \u00e9", "<p>Hello &lt;b&gt; &amp; \u00e9</p>"]


def test_a_boundary_cannot_be_put_into_a_part() -> None:
    fields: dict[str, Any] = {"content_type": ContentType.HTML, "content": "x", "text_content": "{{code}}"}
    boundary = read(compose({"code": ""}, **fields)).get_boundary()
    other = Composer(parse_mailbox("a@b.example")).compose(
        compile_template(Template(usage_type="SignIn", subject="s", **fields)),
        parse_address("user@example.com"),
        {"code": f"--{boundary}"},
        date=DATE,
        message_id=new_message_id("example.com"),
    )

    assert read(other).get_boundary() != boundary
    assert len(list(read(other).iter_parts())) == 2


def test_the_operator_may_leave_html_unescaped() -> None:
    message = read(compose({"code": "<b>1</b>"}, content_type=ContentType.HTML, escape=False))

    assert text_of(message) == "Code <b>1</b>"


def test_only_html_is_escaped() -> None:
    value = "<b> & \"'"
    mail = compose({"v": value}, subject="{{v}}", content="{{v}}", send_from="{{v}} <a@b.example>")

    assert read(mail)["Subject"] == value
    assert text_of(read(mail)) == value
    assert read(mail)["From"].addresses[0].display_name == value


def test_a_date_is_that_of_utc() -> None:
    assert email.utils.parsedate_to_datetime(str(read(compose())["Date"])).timestamp() == int(DATE)


def test_a_message_id_is_new_each_time_and_well_formed() -> None:
    first, second = new_message_id("example.com"), new_message_id("example.com")

    assert first != second
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", first)


def test_composing_again_gives_the_same_octets() -> None:
    fields: dict[str, Any] = {"content_type": ContentType.HTML, "text_content": "x"}

    assert compose({"code": "1"}, **fields).octets == compose({"code": "1"}, **fields).octets


def test_a_mail_hides_whom_and_what_from_logs() -> None:
    shown = repr(compose({"code": "987654"}, to="secret@example.com"))

    assert "secret" not in shown
    assert "987654" not in shown


# Who sends and who answers -------------------------------------------------------------------------------------------


def test_the_templates_own_sender_is_the_envelopes_too() -> None:
    mail = compose({"app": "Test app"}, send_from="{{app}} <other@example.org>", answers_to="help@example.com")

    assert mail.sender == "other@example.org"
    assert read(mail)["From"] == "Test app <other@example.org>"
    assert read(mail)["Reply-To"] == "help@example.com"


@pytest.mark.parametrize("own", [None, "", "{{user.email}}"])
def test_an_absent_or_empty_sender_is_the_configurations(own: str | None) -> None:
    template = Template(
        usage_type="", content_type=ContentType.PLAIN, subject="", content="", send_from=own, reply_to=own
    )
    mail = Composer(parse_mailbox("a@b.example"), parse_mailboxes("c@d.example")).compose(
        compile_template(template),
        parse_address("user@example.com"),
        {"user": {"email": ""}},
        date=DATE,
        message_id=MESSAGE_ID,
    )

    assert (read(mail)["From"], read(mail)["Reply-To"]) == ("a@b.example", "c@d.example")


def test_a_name_cannot_change_who_sends() -> None:
    mail = compose({"app": "Evil <e@e.example>,"}, send_from="{{app}} <a@b.example>")

    assert mail.sender == "a@b.example"
    assert [address.addr_spec for address in read(mail)["From"].addresses] == ["a@b.example"]


# Beyond ASCII --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "j\u00f5ser@j\u00f5geva.ee"},
        {"sender": "J\u00f5geva <j\u00f5ser@j\u00f5geva.ee>"},
        {"answers_to": "j\u00f5ser@j\u00f5geva.ee"},
        {"reply_to": "{{code}}j\u00f5ser@j\u00f5geva.ee"},
        {"send_from": "j\u00f5ser@j\u00f5geva.ee"},
    ],
)
def test_only_an_address_beyond_ascii_needs_smtputf8(fields: dict[str, Any]) -> None:
    mail = compose({"code": "\u00e9"}, **fields)

    assert mail.needs_smtputf8
    assert "j\u00f5ser@j\u00f5geva.ee".encode() in mail.octets
    assert text_of(read(mail)) == "Code \u00e9"


def test_names_texts_and_domains_beyond_ascii_need_nothing() -> None:
    mail = compose({"code": "\u00e9"}, to="a@j\u00f5geva.ee", sender="J\u00f5geva <b@j\u00f5geva.ee>", subject="\u00e9")

    assert not mail.needs_smtputf8
    assert (mail.sender, mail.recipient) == ("b@xn--jgeva-dua.ee", "a@xn--jgeva-dua.ee")
    assert read(mail)["From"].addresses[0].display_name == "J\u00f5geva"


def test_a_quoted_local_part_stays_one_address() -> None:
    mail = compose(to='"user@evil.com"@good.com')

    assert mail.recipient == '"user@evil.com"@good.com'
    assert [address.domain for address in read(mail)["To"].addresses] == ["good.com"]


# What is refused -----------------------------------------------------------------------------------------------------

HEADER_BREAKERS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066, 0xD800]


@pytest.mark.parametrize("code", HEADER_BREAKERS, ids=hex)
@pytest.mark.parametrize("field", ["subject", "send_from", "reply_to"])
def test_no_value_breaks_a_header(field: str, code: int) -> None:
    text = "{{a}}" if field == "subject" else "{{a}} <a@b.example>"

    assert refused({"a": f"x{chr(code)}y"}, **{field: text}) == ["payload.a"]


@pytest.mark.parametrize("code", [*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0xD800, 0xDFFF], ids=hex)
@pytest.mark.parametrize("content_type", list(ContentType))
def test_no_value_brings_a_control_character_into_a_body(content_type: ContentType, code: int) -> None:
    assert refused({"code": f"x{chr(code)}y"}, content_type=content_type) == ["payload.code"]


@pytest.mark.parametrize("header", [("X-A\r\nBcc", "x"), ("Bcc", "x"), ("X-A", "x\r\nBcc: e@e.example"), ("", "x")])
def test_a_composer_takes_no_header_that_cannot_be(header: tuple[str, str]) -> None:
    with pytest.raises(HeaderError):
        Composer(parse_mailbox("a@b.example"), (), [header])


def test_all_violations_are_told_at_once_without_a_value() -> None:
    with pytest.raises(Failure) as raised:
        compose(
            {"a": "secret\r\n", "b": "javascript:secret", "c": "secret\x00", "d": "secret"},
            content_type=ContentType.HTML,
            subject="{{a}}",
            content='<a href="{{b}}">',
            text_content="{{c}} {{c}}",
            send_from="{{a}} <a@b.example>",
            reply_to="{{d}}",
        )

    failure = raised.value
    assert [violation.field for violation in failure.violations] == [
        "payload.a",
        "payload.a",
        "payload.d",
        "payload.c",
        "payload.b",
    ]
    assert "secret" not in f"{failure} {failure!r} {failure.violations}"


def test_a_violation_names_the_template_by_the_callers_path() -> None:
    template = compile_template(
        Template(usage_type="", content_type=ContentType.PLAIN, subject="{{a}}", content="", text_content=None)
    )
    with pytest.raises(Failure) as raised:
        Composer(parse_mailbox("a@b.example")).compose(
            template,
            parse_address("user@example.com"),
            {"a": "x" * 256},
            date=DATE,
            message_id=MESSAGE_ID,
            template_field="config.document.templates[2]",
        )

    assert [violation.field for violation in raised.value.violations] == ["config.document.templates[2].subject"]


@pytest.mark.parametrize("length", [254, 255])
def test_a_subject_of_255_characters_is_sent(length: int) -> None:
    for character in ("x", "\U0001f600"):
        assert read(compose({"a": character * length}, subject="{{a}}"))["Subject"] == character * length
    assert refused({"a": "x" * 256}, subject="{{a}}") == ["template.subject"]


def test_a_body_of_one_mib_is_sent_and_one_octet_more_is_refused() -> None:
    values = dict.fromkeys("abcdefghijklmnop", "x" * (MIB // 16))
    content = "".join(f"{{{{{name}}}}}" for name in values)

    assert len(text_of(read(compose(values, content=content)))) == MIB
    assert refused(values, content=content + "y") == ["template.content"]
    assert refused({name: value[:-1] + "\u00e9" for name, value in values.items()}, content=content) == [
        "template.content"
    ]


def test_a_value_is_never_read_as_a_placeholder_or_a_header() -> None:
    mail = compose({"a": "{{b}} =?utf-8?q?x=0d=0aBcc:_e=40e?= Bcc: e@e.example", "b": "!"}, subject="{{a}}")

    assert read(mail)["Subject"] == "{{b}} =?utf-8?q?x=0d=0aBcc:_e=40e?= Bcc: e@e.example"
    assert read(mail).keys() == [*OWN_HEADERS, "Content-Transfer-Encoding"]


# For a server that may read on in a message that it refused ----------------------------------------------------------

VERB = re.compile(
    rb"\s*(HELO|EHLO|MAIL|RCPT|DATA|BDAT|RSET|VRFY|EXPN|HELP|NOOP|QUIT|STARTTLS|AUTH)(\s|\Z)", re.IGNORECASE
)
command_text = st.lists(
    st.sampled_from(
        ["MAIL FROM:<e@e.example>", "RCPT TO:<e@e.example>", "QUIT", "DATA", "\n", " ", "x" * 60, "\u00e9", "AUTH x"]
    )
).map(" ".join)


@settings(deadline=None, max_examples=200)
@given(command_text, command_text, command_text)
def test_no_line_of_an_opaque_mail_is_an_smtp_command(subject: str, name: str, body: str) -> None:
    mail = compose(
        {"subject": subject.replace("\n", "")[:255], "name": name.replace("\n", "")[:64], "body": body},
        subject="{{subject}}",
        send_from="{{name}} <a@b.example>",
        content_type=ContentType.HTML,
        content="{{body}}",
        text_content="{{body}}",
        opaque=True,
    )

    assert mail.opaque
    assert not [line for line in mail.octets.split(b"\r\n") if VERB.match(line)]
    read(mail)


# Round trips ---------------------------------------------------------------------------------------------------------

subjects = st.text(max_size=255).filter(lambda text: HEADER_TEXT.problem(text) is None)
bodies = st.text(max_size=500).filter(lambda text: BODY_TEXT.problem(text) is None)


def lines_of(text: str) -> str:
    return re.sub("\r\n|\r|\n", "\n", text).removesuffix("\n")


@settings(deadline=None, max_examples=150)
@given(subjects, bodies, bodies, st.sampled_from(["user@example.com", "j\u00f5ser@j\u00f5geva.ee"]), st.booleans())
def test_a_mail_is_read_back_as_it_was_written(
    subject: str,
    text: str,
    html: str,
    to: str,
    opaque: bool,
) -> None:
    mail = compose(
        {"subject": subject, "text": text, "html": html},
        to=to,
        subject="{{subject}}",
        content_type=ContentType.HTML,
        content="{{html}}",
        text_content="{{text}}",
        escape=False,
        opaque=opaque,
    )

    message = read(mail)
    plain, rich = message.iter_parts()
    assert message["Subject"] == subject
    assert str(message["To"]) == to
    assert lines_of(text_of(plain)) == lines_of(text)
    assert lines_of(text_of(rich)) == lines_of(html)
    assert message.keys() == OWN_HEADERS


@pytest.mark.parametrize("opaque", [False, True])
def test_answers_may_go_to_several(opaque: bool) -> None:
    several = 'help@example.com, "Doe, John" <j@example.com>, ' + ", ".join(
        f"Jõgeva {n} <a{n}@example.com>" for n in range(9)
    )
    mail = compose(answers_to=several, opaque=opaque)
    addresses = read(mail)["Reply-To"].addresses
    assert [str(address.addr_spec) for address in addresses][:3] == [
        "help@example.com",
        "j@example.com",
        "a0@example.com",
    ]
    assert [address.display_name for address in addresses][1:3] == ["Doe, John", "Jõgeva 0"]
    assert len(addresses) == 11
    assert not mail.needs_smtputf8
    assert compose(answers_to="a@b.example, õ@b.example").needs_smtputf8
