"""The configuration that a call works with, as a caller likes to give it, and templates that come with a call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from smtpconnector._struct import JSON, refused, struct_from, text_from
from smtpconnector.v1 import config_pb2

Config: TypeAlias = str | Mapping[str, JSON] | config_pb2.SmtpConfig | config_pb2.ConnectorConfig
"""The name of a profile of the service, a document of Logto's SMTP connector, or one of the contract's messages."""

_CONTENT_TYPES = {
    "text/html": config_pb2.CONTENT_TYPE_TEXT_HTML,
    "text/plain": config_pb2.CONTENT_TYPE_TEXT_PLAIN,
}


@dataclass(frozen=True)
class Template:
    """A mail with placeholders, given with a call; it wins over the configuration's templates."""

    subject: str
    """The subject line."""
    content: str
    """The body."""
    content_type: Literal["text/html", "text/plain"] = "text/html"
    """The media type of the body. Values put into HTML are escaped."""
    text_content: str = ""
    """A plain-text body beside an HTML one. Empty: a mail of one part."""
    reply_to: str = ""
    """Where answers go. Empty: as the configuration says."""
    send_from: str = ""
    """The sender. Empty: as the configuration says."""
    language_tag: str = ""
    """The language (BCP 47). Empty: any."""


def template_message(template: Template) -> config_pb2.Template:
    """Put a template into the contract's form.

    Raises:
        InvalidRequest: It holds what is not text, or its content type is not known.
    """
    if template.content_type not in _CONTENT_TYPES:
        raise refused("template.content_type", "is neither text/html nor text/plain")
    return config_pb2.Template(
        content_type=_CONTENT_TYPES[template.content_type],
        subject=text_from(template.subject, "template.subject"),
        content=text_from(template.content, "template.content"),
        text_content=text_from(template.text_content, "template.text_content"),
        reply_to=text_from(template.reply_to, "template.reply_to"),
        send_from=text_from(template.send_from, "template.send_from"),
        language_tag=text_from(template.language_tag, "template.language_tag"),
    )


def config_message(config: Config) -> config_pb2.ConnectorConfig:
    """Put a configuration into the contract's form.

    Raises:
        InvalidRequest: It is none of the forms of :data:`Config`, or holds what JSON cannot.
    """
    if isinstance(config, config_pb2.ConnectorConfig):
        return config
    if isinstance(config, config_pb2.SmtpConfig):
        return config_pb2.ConnectorConfig(smtp=config)
    if isinstance(config, str):
        return config_pb2.ConnectorConfig(profile=text_from(config, "config.profile"))
    return config_pb2.ConnectorConfig(document=struct_from(config, "config.document"))


def config_from_logto(text: str | bytes) -> config_pb2.ConnectorConfig:
    """Read the JSON document of Logto's SMTP connector; the service checks what it says.

    The result holds passwords, and protobuf messages print all they hold: never log it.

    Args:
        text: The document; bytes are UTF-8.

    Raises:
        ValueError: It is not one JSON object. The text names line and column, and no value.
        InvalidRequest: A value cannot be carried, such as an integer beyond 2**53.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"the document is not UTF-8 at byte {error.start}") from None
    document = _parse_strictly(text)
    return config_pb2.ConnectorConfig(document=struct_from(document, "config.document"))


# json reads what JSON (RFC 8259) has not, or has no single meaning for, and its hooks do not tell where it stands.
_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]|-?Infinity|NaN', re.DOTALL)


def _parse_strictly(text: str) -> dict[str, JSON]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        what = "comments are not allowed" if text.startswith(("//", "/*", "#"), error.pos) else error.msg
        # The error itself holds the whole document with its passwords, so it is no cause.
        raise _not_json(what, text, error.pos) from None
    except RecursionError:
        raise ValueError("the document is nested too deep") from None
    if not isinstance(document, dict):
        raise ValueError("the document is not a JSON object: it must begin with {")  # noqa: TRY004 - the text is wrong
    _refuse_ambiguity(text)
    return document


def _refuse_ambiguity(text: str) -> None:
    """Refuse keys that occur twice in an object and numbers that are not finite, in a text that json could read."""
    open_keys: list[set[str] | None] = []  # the keys seen in each open object; None for an open array
    expects_key = False
    for match in _LEXEME.finditer(text):
        lexeme = match[0]
        keys = open_keys[-1] if open_keys else None
        if keys is not None and expects_key and lexeme.startswith('"'):
            key = json.loads(lexeme)
            if key in keys:
                raise _not_json(f"the key {lexeme} occurs twice in one object", text, match.start())
            keys.add(key)
        elif lexeme in "{[":
            open_keys.append(set() if lexeme == "{" else None)
        elif lexeme in "}]":
            open_keys.pop()
        elif lexeme[-1] in "yN":
            raise _not_json(f"{lexeme} is no number", text, match.start())
        expects_key = lexeme in "{,"


def _not_json(what: str, text: str, position: int) -> ValueError:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return ValueError(f"the document is not JSON: {what} at line {line}, column {column}")
