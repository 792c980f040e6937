"""The web site that one-time codes are for: the origin of the header OTP-Token.

What comes out is an origin in canonical ASCII (RFC 6454), so that a mail client that compares it with a site's own
finds them equal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from smtpconnector_server.config.host import HostError, parse_host

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import HeaderDraft, Said
    from smtpconnector_server.config.finding import Findings

_HEADER: Final = "otp-token"
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_LOOPBACK: Final = re.compile(r"(.+\.)?localhost|127\.[0-9.]+|::1")
_URL_TEXT: Final = re.compile(r"[^\x00-\x20\x7f\\]+")


def read_otp_origin(said: Said[str], headers: tuple[HeaderDraft, ...], findings: Findings) -> str | None:
    """Return the origin; None for no header."""
    if said.value is None:
        return None
    for header in headers:
        if (header.name.value or "").lower() == _HEADER:
            findings.error(
                header.name.path,
                "CONTRADICTION",
                f"{header.name.path} and {said.path} both write OTP-Token, which may stand in a mail once.",
                "Remove the custom header.",
            )
    try:
        return parse_origin(said.value)
    except ValueError as error:
        findings.error(said.path, "INVALID_URL", f"{said.path} {error}.", "Give the site, such as https://example.com.")
        return None


def parse_origin(text: str) -> str:
    """Return the origin of a URL, such as ``https://example.com``. A name alone means ``https``.

    Raises:
        ValueError: It is none that a code can be bound to; the text completes a sentence.
    """
    if not _URL_TEXT.fullmatch(text):
        raise ValueError("holds a blank, a backslash or a control character")
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        port = url.port
    except ValueError:
        raise ValueError("is not a URL") from None
    try:
        host = parse_host(url.hostname or "")
    except HostError:
        raise ValueError("names no host") from None
    if url.username is not None or url.password is not None:
        raise ValueError("holds credentials")
    if url.scheme != "https" and not (url.scheme == "http" and _LOOPBACK.fullmatch(host)):
        raise ValueError("must begin with https://; http:// is for a site on this machine alone")
    shown = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS[url.scheme]) else f":{port}")
