"""The composed mail: envelope and octets, ready for the wire.

Whatever template and payload hold, the octets are lines of at most 998 octets that end in CRLF, without NUL, bare CR or
bare LF, and ASCII unless an address itself is not; the headers are those written here and the configuration's, each
once. A mail that cannot be made so is refused with all that is wrong with it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Reason, Stage, Violation
from smtpconnector_server.message.body import encode_body
from smtpconnector_server.message.custom_header import check_header_name, check_header_value
from smtpconnector_server.message.header import (
    MAX_LINE_OCTETS,
    encode_text,
    format_address,
    format_mailbox,
    header_line,
)
from smtpconnector_server.message.otp_token import otp_token_line
from smtpconnector_server.message.template import MAX_BODY_OCTETS, ContentType
from smtpconnector_server.value_object import value_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from smtpconnector_server.message.address import Address, Mailbox
    from smtpconnector_server.message.payload import Payload
    from smtpconnector_server.message.placeholder import PlaceholderText
    from smtpconnector_server.message.template import CompiledTemplate

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MESSAGE_ID_OCTETS: Final = 16
_BOUNDARY_OCTETS: Final = 16


@value_object(kw_only=True)
class Mail:
    """One message to one recipient."""

    sender: str = field(repr=False)
    """The envelope's sender, without angle brackets."""
    recipient: str = field(repr=False)
    """The envelope's recipient, without angle brackets."""
    message_id: str
    """Angle brackets included."""
    needs_smtputf8: bool
    """Whether only a server with SMTPUTF8 (RFC 6531) can take it."""
    opaque: bool
    """Whether no line of it can be read as an SMTP command; see :meth:`Composer.compose`."""
    octets: bytes = field(repr=False)


def new_message_id(domain: str) -> str:
    """Return a Message-ID that nobody can guess.

    Args:
        domain: Of the sender, in A-labels.
    """
    return f"<{secrets.token_hex(_MESSAGE_ID_OCTETS)}@{domain}>"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The headers that are the same in every mail."""

    sender: str
    reply_to: str
    rest: str


class Composer:
    """Makes mails of one configuration.

    Args:
        sender: Who sends, unless a template says otherwise.
        reply_to: Where answers go, unless a template says otherwise. Empty: no Reply-To header.
        custom_headers: Name and value of headers to add, in order.
        otp_origin: The site that codes are for, for the header OTP-Token. None: no such header.

    Raises:
        HeaderError: If a custom header cannot be.
    """

    def __init__(
        self,
        sender: Mailbox,
        reply_to: Sequence[Mailbox] = (),
        custom_headers: Iterable[tuple[str, str]] = (),
        *,
        otp_origin: str | None = None,
    ) -> None:
        headers = list(custom_headers)
        for name, value in headers:
            check_header_name(name)
            check_header_value(value)
        self._sender = sender
        self._reply_to = reply_to
        self._otp_origin = otp_origin
        self._frame = self._make_frame(headers, opaque=False)
        self._opaque_frame = self._make_frame(headers, opaque=True)

    def compose(
        self,
        template: CompiledTemplate,
        to: Address,
        payload: Payload,
        *,
        date: float,
        message_id: str,
        template_field: str = "template",
        opaque: bool = False,
    ) -> Mail:
        """Return the mail that a template and a payload make.

        Args:
            template: What to say.
            to: To whom.
            payload: The values for placeholders. It has passed :func:`.payload.check_payload`.
            date: Seconds since the epoch.
            message_id: From :func:`new_message_id`; the same in every attempt to send this mail.
            template_field: The path of the template, for violations: ``template``, ``config.document.templates[2]``.
            opaque: Write the mail so that no line of it can be read as an SMTP command: bodies in base64, plain
                header text folded only where it must be. For servers that may read on in a message they refused.

        Raises:
            Failure: INVALID_REQUEST, with all violations. A fault that a value brings in is on ``payload.…``, any
                other one on the template's field.
        """
        violations: list[Violation] = []
        subject = template.subject.render(payload, violations, template_field)
        own_sender = template.send_from and template.send_from.render(payload, violations, template_field)
        own_reply_to = template.reply_to and template.reply_to.render(payload, violations, template_field)
        bodies = [
            (content_type, _render_body(text, payload, violations, template_field))
            for content_type, text in _texts(template)
        ]
        if violations:
            raise _refusal(violations)
        sender = own_sender or self._sender
        reply_to = [own_reply_to] if own_reply_to else self._reply_to
        frame = self._opaque_frame if opaque else self._frame
        headers = (
            f"Date: {_format_date(int(date))}\r\n"
            f"{_mailbox_line('From', own_sender, opaque=opaque) if own_sender else frame.sender}"
            f"To: {format_address(to)}\r\n"
            f"{_mailbox_line('Reply-To', own_reply_to, opaque=opaque) if own_reply_to else frame.reply_to}"
            f"{header_line('Subject', encode_text(subject), opaque=opaque)}"
            f"Message-ID: {message_id}\r\n"
            f"{otp_token_line(template, payload, self._otp_origin, opaque=opaque) if self._otp_origin else ''}"
            f"{frame.rest}"
        )
        needs_smtputf8 = (
            to.needs_smtputf8
            or sender.address.needs_smtputf8
            or any(mailbox.address.needs_smtputf8 for mailbox in reply_to)
        )
        octets = headers.encode("utf-8" if needs_smtputf8 else "ascii") + _mime(bodies, message_id, opaque=opaque)
        check_wire(octets)
        return Mail(
            sender=str(sender.address),
            recipient=str(to),
            message_id=message_id,
            needs_smtputf8=needs_smtputf8,
            opaque=opaque,
            octets=octets,
        )

    def _make_frame(self, headers: Sequence[tuple[str, str]], *, opaque: bool) -> _Frame:
        lines = [header_line(name, encode_text(value), opaque=opaque) for name, value in headers]
        return _Frame(
            sender=_mailbox_line("From", self._sender, opaque=opaque),
            reply_to=_mailbox_line("Reply-To", *self._reply_to, opaque=opaque) if self._reply_to else "",
            rest="".join(["Auto-Submitted: auto-generated\r\n", *lines, "MIME-Version: 1.0\r\n"]),  # RFC 3834
        )


def _mailbox_line(name: str, *mailboxes: Mailbox, opaque: bool) -> str:
    return header_line(name, ", ".join(map(format_mailbox, mailboxes)), opaque=opaque)


def _texts(template: CompiledTemplate) -> list[tuple[ContentType, PlaceholderText]]:
    """Return the bodies of a template, the plainest first (RFC 2046, section 5.1.4)."""
    content = (template.content_type, template.content)
    return [(ContentType.PLAIN, template.text_content), content] if template.text_content else [content]


def _render_body(text: PlaceholderText, payload: Payload, violations: list[Violation], template_field: str) -> bytes:
    octets = text.render(payload, violations, template_field).encode()
    if len(octets) > MAX_BODY_OCTETS:
        violations.append(Violation(f"{template_field}.{text.name}", "is larger than 1 MiB once rendered"))
    return octets


def _refusal(violations: list[Violation]) -> Failure:
    return Failure(
        Reason.INVALID_REQUEST,
        "The mail cannot be composed: a value or the template breaks a rule of e-mail. See the violations.",
        stage=Stage.COMPOSE,
        violations=tuple(dict.fromkeys(violations)),
    )


@lru_cache(maxsize=1)
def _format_date(seconds: int) -> str:
    """Return a date as RFC 5322 has it, in UTC."""
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    return f"{_WEEKDAYS[weekday]}, {day:02d} {_MONTHS[month]} {year} {hour:02d}:{minute:02d}:{second:02d} +0000"


def _mime(bodies: list[tuple[ContentType, bytes]], message_id: str, *, opaque: bool) -> bytes:
    """Return the headers of the content, an empty line, and the content."""
    parts = [_part(content_type, octets, opaque=opaque) for content_type, octets in bodies]
    if len(parts) == 1:
        return parts[0]
    # As hard to guess as the Message-ID. "=_" occurs in neither quoted-printable nor base64 (RFC 2045, section 6.7).
    digest = hashlib.blake2b(message_id.encode(), digest_size=_BOUNDARY_OCTETS).hexdigest()
    boundary = f"=_{digest}".encode()
    delimiter = b"--%b\r\n" % boundary
    return b"".join(
        [
            b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n\r\n' % boundary,
            *(piece for part in parts for piece in (delimiter, part)),
            b"--%b--\r\n" % boundary,
        ]
    )


def _part(content_type: ContentType, octets: bytes, *, opaque: bool) -> bytes:
    encoding, encoded = encode_body(octets, opaque=opaque)
    return (
        f"Content-Type: {content_type.value}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        + encoded
    )


def check_wire(octets: bytes) -> None:
    """Look at the result itself, whatever the code before is believed to do.

    Raises:
        Failure: INTERNAL.
    """
    lines = octets.count(b"\r\n")
    if (
        octets.count(b"\r") != lines
        or octets.count(b"\n") != lines
        or b"\0" in octets
        or max(map(len, octets.split(b"\r\n"))) > MAX_LINE_OCTETS
    ):
        raise Failure(Reason.INTERNAL, "The composed mail broke a rule of SMTP and was not sent.", stage=Stage.COMPOSE)
