"""The templates of a configuration: all that are needed, each able to say what its mail is for."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.origin import Origin
from smtpconnector_server.message.template import ContentType, Template, TemplateError, compile_template
from smtpconnector_server.message.text_rule import HEADER_TEXT

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import Said, TemplateDraft
    from smtpconnector_server.config.finding import Findings
    from smtpconnector_server.message.placeholder import PlaceholderText
    from smtpconnector_server.message.template import CompiledTemplate

REQUIRED: Final = ("Register", "SignIn", "ForgotPassword", "Generic")
CODE_USAGE_TYPES: Final = (
    *REQUIRED,
    "UserPermissionValidation",
    "BindNewIdentifier",
    "MfaVerification",
    "BindMfa",
    "Test",
)
LINK_USAGE_TYPES: Final = ("OrganizationInvitation",)
USAGE_TYPES: Final = (*CODE_USAGE_TYPES, *LINK_USAGE_TYPES)
OLD_USAGE_TYPE: Final = "Test"

_HTML: Final = re.compile(r"\s*<(!doctype|html|head|body|div|table|p|h[1-6])\b", re.IGNORECASE)
_LEFT_OVER: Final = re.compile(r"\s*<[^<>]+>\s*")


def read_templates(said: Said[tuple[TemplateDraft, ...]], origin: Origin, findings: Findings) -> tuple[Template, ...]:
    """Return the templates that can be used."""
    if said.is_spoilt:
        return ()
    seen: dict[tuple[str, str | None], str] = {}
    templates = []
    for draft in said.value or ():
        template = read_template(draft, origin, findings)
        usage_type, language = draft.usage_type.value, draft.language_tag.value
        if usage_type is None:
            continue
        first = seen.setdefault((usage_type, language.lower() if language else None), draft.path)
        if first != draft.path:
            findings.warning(
                draft.usage_type.path,
                "DUPLICATE_TEMPLATE",
                f"{first} has the usage type {usage_type} already and serves; {draft.path} never does.",
                "Remove one of them.",
            )
        if template is not None:
            templates.append(template)
    _check_required({usage_type for usage_type, _ in seen}, said.path, findings)
    for usage_type in dict.fromkeys(usage_type for usage_type, _ in seen):
        if (usage_type, None) not in seen:
            findings.warning(
                said.path,
                "NO_DEFAULT_LANGUAGE",
                f"Every template for {usage_type} has a language tag; readers of other languages get the first.",
                "Give one of them without a language tag.",
            )
    return tuple(templates)


def read_template(draft: TemplateDraft, origin: Origin, findings: Findings) -> Template | None:
    """Return a template, or None if it cannot be used."""
    _check_usage_type(draft.usage_type, findings)
    _check_presence(draft, findings)
    template = Template(
        usage_type=draft.usage_type.value or "",
        content_type=ContentType(draft.content_type.value or ContentType.HTML),
        subject=draft.subject.value or "",
        content=draft.content.value or "",
        text_content=_text_content(draft, findings),
        reply_to=draft.reply_to.value,
        send_from=draft.send_from.value,
        language_tag=draft.language_tag.value,
        escape=_escape(draft, origin, findings),
    )
    _check_left_overs(draft, findings)
    try:
        compiled = compile_template(template)
    except TemplateError as error:
        for violation in error.violations:
            said: Said[str] = getattr(draft, violation.field)
            findings.error(said.path, "INVALID_TEMPLATE", f"{said.path} {violation.description}.")
        return None
    _check_placeholders(draft, compiled, findings)
    return template


def _check_presence(draft: TemplateDraft, findings: Findings) -> None:
    for said in (draft.content_type, draft.subject, draft.content):
        findings.require(said, "Give text/plain or text/html." if said is draft.content_type else "")
        if said.value == "":
            findings.warning(said.path, "EMPTY_TEXT", f"{said.path} is empty.")


def _check_required(usage_types: set[str], path: str, findings: Findings) -> None:
    missing = [usage_type for usage_type in REQUIRED if usage_type not in usage_types]
    if not missing:
        return
    names = ", ".join(missing)
    kind = "a template" if len(missing) == 1 else "a template each"
    hint = f"Add {kind} for {names}."
    if OLD_USAGE_TYPE in usage_types:
        example = (
            f'{{"usageType": "{missing[0]}", "contentType": "text/plain", "subject": "Your code", '
            '"content": "Your code is {{code}}."}'
        )
        hint = (
            f"This document is of the age of the usage type {OLD_USAGE_TYPE}, which may stay. Add {kind} for "
            f"{names}, such as {example}."
        )
    findings.error(path, "MISSING_TEMPLATE", f"Templates are missing for {names}.", hint)


def _check_usage_type(said: Said[str], findings: Findings) -> None:
    name = said.value
    findings.require(said, "Give a usage type such as SignIn.")
    if name is None:
        return
    if HEADER_TEXT.problem(name):
        findings.error(said.path, "CONTROL_CHARACTER", f"{said.path} holds a line break or a control character.")
    elif name not in USAGE_TYPES:
        folded = {known.lower(): known for known in USAGE_TYPES}
        near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.8)
        if near:
            findings.warning(
                said.path,
                "UNKNOWN_USAGE_TYPE",
                f"{said.path} is no known usage type, but close to {folded[near[0]]}; usage types are case-sensitive.",
                f"Write {folded[near[0]]}, unless your calls do use the other spelling.",
            )


def _check_left_overs(draft: TemplateDraft, findings: Findings) -> None:
    for text in (draft.subject, draft.content):
        if text.value is not None and _LEFT_OVER.fullmatch(text.value):
            findings.warning(
                text.path,
                "PLACEHOLDER_TEXT",
                f"{text.path} looks like the text of an example that was to be replaced.",
                "Write your own text, without < and >.",
            )
    is_plain = draft.content_type.value == ContentType.PLAIN.value
    if is_plain and draft.content.value and _HTML.match(draft.content.value):
        findings.warning(
            draft.content_type.path,
            "HTML_AS_TEXT",
            f"{draft.content.path} looks like HTML, but is sent as plain text: readers will see the tags.",
            f"Make {draft.content_type.path} text/html.",
        )


def _escape(draft: TemplateDraft, origin: Origin, findings: Findings) -> bool:
    said = draft.escape
    if said.value is not False:
        return True
    if origin is Origin.CALLER:
        findings.error(
            said.path,
            "NOT_ALLOWED",
            f"{said.path} may be false in a profile of the server only.",
            "Leave it out: values would put their own HTML into the mail.",
        )
    else:
        findings.warning(
            said.path,
            "NOT_ESCAPED",
            "Values stand in this mail as they are; one that holds HTML changes the mail.",
            "Be sure that every value of the payload is trusted, or leave it out.",
        )
    return False


def _text_content(draft: TemplateDraft, findings: Findings) -> str | None:
    said = draft.text_content
    if said.value is not None and draft.content_type.value == ContentType.PLAIN.value:
        findings.warning(
            said.path,
            "NO_EFFECT",
            f"{said.path} has no effect: {draft.content.path} is plain text already.",
            f"Remove it, or make {draft.content_type.path} text/html.",
        )
        return None
    return said.value


def _check_placeholders(draft: TemplateDraft, compiled: CompiledTemplate, findings: Findings) -> None:
    """Say when a mail cannot show what it is sent for."""
    usage_type = compiled.usage_type
    root = "code" if usage_type in CODE_USAGE_TYPES else "link" if usage_type in LINK_USAGE_TYPES else None
    if root is None or root in _roots(compiled.subject):
        return
    for path, text in ((draft.content.path, compiled.content), (draft.text_content.path, compiled.text_content)):
        if text is not None and root not in _roots(text):
            findings.warning(
                path,
                "MISSING_PLACEHOLDER",
                f"{path} does not show {{{{{root}}}}}, which mails for {usage_type} are for.",
                f"Write {{{{{root}}}}} where the {root} shall stand.",
            )


def _roots(text: PlaceholderText) -> set[str]:
    return {path.partition(".")[0] for path in text.paths}
