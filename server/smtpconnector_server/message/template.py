"""Templates: as written, and compiled once to be rendered many times."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
