"""The token end points of Google and Microsoft, and the scopes with which their tokens may send by SMTP."""

from __future__ import annotations

from typing import Final

GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GOOGLE_SCOPE: Final = "https://mail.google.com/"
"""The one scope that Gmail's SMTP server takes (developers.google.com/workspace/gmail/imap/xoauth2-protocol)."""

MICROSOFT_APPLICATION_SCOPE: Final = "https://outlook.office365.com/.default"
"""For client_credentials (the permission SMTP.SendAsApp of Exchange Online)."""
