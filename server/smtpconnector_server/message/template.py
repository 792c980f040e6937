"""Templates: as written, and compiled once to be rendered many times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Violation
from smtpconnector_server.message import html_context
from smtpconnector_server.message.address import AddressError
from smtpconnector_server.message.mailbox_text import MailboxText
from smtpconnector_server.message.placeholder import PlaceholderText
from smtpconnector_server.message.text_rule import BODY_TEXT, HEADER_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from smtpconnector_server.message.html_value import Encoder

MAX_SUBJECT_CHARACTERS: Final = 255
"""Of a rendered subject."""
MAX_CONTENT_OCTETS: Final = 256 * 1024
"""Of a body as written, in UTF-8."""
MAX_BODY_OCTETS: Final = 1024 * 1024
"""Of a rendered body, in UTF-8."""

_LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7}")  # the shape only (RFC 5646, section 2.1)


class ContentType(Enum):
    """The media type of a template's content."""

    PLAIN = "text/plain"
    HTML = "text/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template as it was written, placeholders and all."""

    usage_type: str
    content_type: ContentType
    subject: str
    content: str
    text_content: str | None = None
    """A plain-text body beside an HTML content."""
    reply_to: str | None = None
    send_from: str | None = None
    language_tag: str | None = None
    escape: bool = True
    """Whether values are HTML-escaped in HTML content. Only an operator's profile can switch it off."""


class TemplateError(ValueError):
    """A template that cannot be compiled.

    Args:
        violations: What is wrong. Fields are names of :class:`Template`'s: ``subject``, ``send_from``.
    """

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(f"{violation.field} {violation.description}" for violation in violations))
        self.violations = violations


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledTemplate:
    """A template that is free of faults of its own and ready to be rendered."""

    usage_type: str
    language_tag: str | None
    content_type: ContentType
    subject: PlaceholderText
    content: PlaceholderText
    text_content: PlaceholderText | None
    reply_to: MailboxText | None
    send_from: MailboxText | None

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths into the payload that the template shows, each once."""
        texts = (self.subject, self.content, self.text_content, self.reply_to, self.send_from)
        return tuple(dict.fromkeys(path for text in texts if text for path in text.paths))


def compile_template(template: Template) -> CompiledTemplate:
    """Return a template ready to be rendered.

    Raises:
        TemplateError: With all that is wrong with it, whatever the payload would be.
    """
    violations: list[Violation] = []
    html = template.content_type is ContentType.HTML
    if template.text_content is not None and not html:
        violations.append(Violation("text_content", "stands beside a content that is plain text itself: remove one"))
    if template.language_tag is not None and not _LANGUAGE_TAG.fullmatch(template.language_tag):
        violations.append(Violation("language_tag", "is not a language tag such as `pt-BR`"))
    compiled = CompiledTemplate(
        usage_type=template.usage_type,
        language_tag=template.language_tag,
        content_type=template.content_type,
        subject=_compile_subject(template.subject, violations),
        content=_compile_body(
            template.content, "content", violations, html_context.encoders if html and template.escape else None
        ),
        text_content=None
        if template.text_content is None
        else _compile_body(template.text_content, "text_content", violations),
        reply_to=_compile_mailbox(template.reply_to, "reply_to", violations),
        send_from=_compile_mailbox(template.send_from, "send_from", violations),
    )
    if violations:
        raise TemplateError(tuple(violations))
    return compiled


def _compile_subject(subject: str, violations: list[Violation]) -> PlaceholderText:
    text = PlaceholderText(subject, name="subject", rule=HEADER_TEXT, max_length=MAX_SUBJECT_CHARACTERS)
    problem = HEADER_TEXT.problem(subject)
    if problem:
        violations.append(Violation("subject", problem))
    if len(text.literal) > MAX_SUBJECT_CHARACTERS:
        violations.append(Violation("subject", f"is longer than {MAX_SUBJECT_CHARACTERS} characters"))
    return text


def _compile_body(
    content: str,
    name: str,
    violations: list[Violation],
    encoders: Callable[[Sequence[str]], Sequence[Encoder]] | None = None,
) -> PlaceholderText:
    problem = BODY_TEXT.problem(content)
    if problem:
        violations.append(Violation(name, problem))
    elif len(content.encode()) > MAX_CONTENT_OCTETS:
        violations.append(Violation(name, f"is larger than {MAX_CONTENT_OCTETS // 1024} KiB"))
        content = ""  # nothing that large is worth a look
    return PlaceholderText(content, name=name, rule=BODY_TEXT, max_length=MAX_BODY_OCTETS, encoders=encoders)


def _compile_mailbox(text: str | None, name: str, violations: list[Violation]) -> MailboxText | None:
    if not text:
        return None
    try:
        return MailboxText(text, name=name)
    except AddressError as error:
        violations.append(Violation(name, str(error)))
        return None
