"""A reply of an SMTP server (RFC 5321, section 4.2; enhanced codes: RFC 3463 and RFC 2034)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete, well-formed reply."""

    code: int
    """Three digits, 200 to 599."""
    enhanced_code: str = ""
    """Such as ``5.7.8``; empty when the server gave none."""
    text: str = ""
    """The text without codes, lines joined by a space, sanitised: printable ASCII only, at most 256 characters."""
