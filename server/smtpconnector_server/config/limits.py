"""The sizes that a configuration may have, said once for both doors, the schema and the documentation."""

from __future__ import annotations

from typing import Final

HOST: Final = 255
"""Characters; a name of 253 (RFC 1035) with room for brackets or a trailing dot."""
ACCOUNT: Final = 512
"""Characters of a user name or an identifier of OAuth 2.0."""
SECRET: Final = 16 * 1024
"""Characters of a password, a token or a private key. Servers take AUTH lines of 12,288 octets (RFC 4954)."""
URL: Final = 2048
PEM: Final = 256 * 1024
"""Characters of certificates."""
MAILBOX: Final = 512
"""Characters of a sender or a Reply-To."""
TEMPLATES: Final = 100
USAGE_TYPE: Final = 64
SUBJECT: Final = 4096
"""Characters before rendering; placeholders may be long, the rendered subject may not."""
CONTENT: Final = 256 * 1024
"""Octets of a template's body."""
LANGUAGE_TAG: Final = 64
HEADERS: Final = 50
DKIM_KEYS: Final = 4
DKIM_NAME: Final = 64
"""Characters of a signing domain or a selector: dkimpy would break a longer one at a line's end."""
HEADER_VALUE: Final = 4096
TIMEOUT_SECONDS: Final = 3600
"""The longest single wait."""
CONNECTIONS: Final = 100
MESSAGES: Final = 10_000
"""On one connection."""
RATE: Final = 100_000
"""Mails within a stretch of time."""
RATE_SECONDS: Final = 86_400
"""The longest stretch."""
