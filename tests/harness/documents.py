"""Whole configuration documents for tests."""

from __future__ import annotations

from typing import Any, Protocol

USAGE_TYPES = ("Register", "SignIn", "ForgotPassword", "Generic")


class _Listener(Protocol):
    host: str
    port: int


def document_for(inbox: _Listener, **changes: Any) -> dict[str, Any]:
    """Return a whole configuration document whose mails go to a server."""
    return {
        "host": inbox.host,
        "port": inbox.port,
        "auth": {},
        "fromEmail": "Sender <sender@example.com>",
        "templates": plain_templates(),
        **changes,
    }


def plain_templates() -> list[dict[str, Any]]:
    """Return a text template for each usage type that a configuration must have."""
    return [
        {
            "usageType": usage_type,
            "contentType": "text/plain",
            "subject": f"{usage_type} {{{{code}}}}",
            "content": "Your code is {{code}}.",
        }
        for usage_type in USAGE_TYPES
    ]
