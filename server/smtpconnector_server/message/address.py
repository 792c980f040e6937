"""E-mail addresses (RFC 5321 Mailbox, RFC 6531) and mailboxes with a display name (RFC 5322)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """One address, checked."""

    local: str
    domain: str
    """A-labels; U-labels where the local part is not ASCII (RFC 6531 wants the whole address in UTF-8 then)."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with an optional display name."""

    name: str
    address: Address
