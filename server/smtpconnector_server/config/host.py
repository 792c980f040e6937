"""Names of hosts, as they may stand in a connection, a certificate check or an EHLO command.

What comes out is ASCII without white space or control characters, so it can neither inject a command nor mean another
host than it shows.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from smtpconnector_server.message.domain import DomainError, to_ascii

# An underscore is no host name by RFC 952, but container networks resolve such names.
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", re.ASCII)
_HOST_NAME_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
# getaddrinfo reads 127.1, 0x7f.1 and 2130706433 as addresses.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LONGEST_NAME: Final = 253  # RFC 1035, section 2.3.4, without the length octets
_LONGEST_LABEL: Final = 63


class HostError(ValueError):
    """A text that is no host.

    Args:
        message: What is wrong with it; never the text itself.
        hint: What to write instead.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parse_host(text: str) -> str:
    """Return an ASCII domain name in lower case, or an IP address without brackets.

    Raises:
        HostError: It is neither.
    """
    if "://" in text:
        raise HostError("is a URL, not a host", "Write the name alone, without scheme, port and path.")
    if "@" in text:
        raise HostError("is an e-mail address, not a host", "Write the name of the SMTP server.")
    if "/" in text:
        raise HostError("holds a path", "Write the name alone.")
    address = parse_ip(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    if address is not None:
        return address
    if ":" in text:
        raise HostError("holds a colon, as if a port followed", "Write the name alone; the port has a key of its own.")
    name = _to_ascii(text.removesuffix("."))
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise HostError("ends in a number but is no IPv4 address", "Write four numbers from 0 to 255, or a name.")
    _check_labels(name, _LABEL)
    return name


def parse_ip(text: str) -> str | None:
    """Return an IP address in its canonical form, or None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return None
    return str(address)


def parse_client_hostname(text: str) -> str:
    """Return the argument of EHLO: a domain name or an address literal (RFC 5321, section 4.1.3).

    Raises:
        HostError: It is neither, so a server may answer 501.
    """
    literal = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address = parse_ip(literal.removeprefix("IPv6:"))
    if address is not None:
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    if not text.isascii():
        raise HostError("is not ASCII, which servers answer with 501", _ascii_hint(text))
    name = text.lower().removesuffix(".")
    _check_labels(name, _HOST_NAME_LABEL)
    return name


def _to_ascii(text: str) -> str:
    name = text.lower()
    if name.isascii() and "xn--" not in name:
        return name
    try:
        return to_ascii(text)
    except DomainError as error:
        raise HostError(str(error)) from None


def _check_labels(name: str, label_pattern: re.Pattern[str]) -> None:
    if len(name) > _LONGEST_NAME:
        raise HostError(f"is longer than {_LONGEST_NAME} characters")
    for label in name.split("."):
        if not label:
            raise HostError("has an empty part between its dots" if name else "is empty")
        if len(label) > _LONGEST_LABEL:
            raise HostError(f"has a part that is longer than {_LONGEST_LABEL} characters")
        if not label_pattern.fullmatch(label):
            raise HostError(
                "is not a domain name or an IP address",
                "Letters, digits, hyphens and dots, such as smtp.example.com; no spaces.",
            )


def _ascii_hint(text: str) -> str:
    try:
        return f"Write {parse_host(text)}."
    except HostError:
        return "Write a domain name in ASCII, such as mail.example.com."
