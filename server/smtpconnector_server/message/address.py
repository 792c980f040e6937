"""E-mail addresses (RFC 5321 Mailbox, RFC 6531) and mailboxes with a display name (RFC 5322).

What is accepted is sent as it was given, but for Unicode's canonical composition and the domain's letter case. No
comment, group, route, list or address literal is understood; what looks like one is refused. The email-validator
library is not used because it maps domains by UTS 46: what it checked is not what was given (see
:mod:`smtpconnector_server.message.domain`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from smtpconnector_server.message import domain as domains
from smtpconnector_server.message.text_rule import DISPLAY_NAME

MAX_ADDRESS_OCTETS: Final = 254  # a path is 256 with its angle brackets (RFC 5321, section 4.5.3.1.3)
MAX_LOCAL_OCTETS: Final = 64
MAX_MAILBOX_CHARACTERS: Final = 512

_ATEXT: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_DOT_ATOM: Final = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
_DOT_ATOM_UTF8: Final = re.compile(rf"[{_ATEXT}\x80-\U0010ffff]+(?:\.[{_ATEXT}\x80-\U0010ffff]+)*")
# A blank, an angle bracket or a backslash is legal between quotes too, but it is where servers lose the way in a
# command, and no real mailbox has one. Doubled and final dots are what Japanese carriers' addresses need quotes for.
_QUOTED_STRING: Final = re.compile(r'"[!#-;=?-\[\]-~]+"')
# Legal there, but readers that decode it all the same (RFC 2047, section 5, says never) see another address.
_ENCODED_WORD: Final = re.compile(r"=\?[^?]*\?[bq]\?", re.IGNORECASE)
_NOT_IN_LOCAL_PART: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})
_NAME_AND_ADDRESS: Final = re.compile(
    r' *(?:"(?P<quoted>(?:[^"\\]|\\.)*+)" *|(?P<bare>[^"<>@:;\\]*+))<(?P<address>[^<>]*+)> *', re.DOTALL
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
# Possessive; a quote that is never closed ends a part, and no mailbox.
_BETWEEN_COMMAS: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*+"?|[^",])++', re.DOTALL)


class AddressError(ValueError):
    """An address or mailbox that is none; the text says what is wrong with it, without showing it."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """One address, checked."""

    local: str
    """As it goes on the wire, quotes included."""
    domain: str
    """A-labels; U-labels where the local part is not ASCII (RFC 6531 wants the whole address in UTF-8 then)."""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()

    @property
    def ascii_domain(self) -> str:
        """The domain in A-labels."""
        return domains.to_ascii(self.domain) if self.needs_smtputf8 else self.domain

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    def __repr__(self) -> str:
        return "Address(***)"


@dataclass(frozen=True, slots=True, repr=False)
class Mailbox:
    """An address with an optional display name."""

    name: str
    address: Address

    def __repr__(self) -> str:
        return "Mailbox(***)"


def parse_address(text: str) -> Address:
    """Return the one address that a text is.

    Raises:
        AddressError: If it is not exactly one address.
    """
    if len(text) > MAX_ADDRESS_OCTETS:  # before anything looks at it
        raise AddressError(f"is longer than {MAX_ADDRESS_OCTETS} octets")
    local, at, domain = text.rpartition("@")
    if not at:
        raise AddressError("has no @: it must be one address such as user@example.com")
    local = _check_local_part(local)
    try:
        ascii_domain = domains.to_ascii(domain)
    except domains.DomainError as error:
        raise AddressError(str(error)) from None
    address = Address(local, ascii_domain if local.isascii() else domains.to_unicode(ascii_domain))
    if len(str(address).encode()) > MAX_ADDRESS_OCTETS:
        raise AddressError(f"is longer than {MAX_ADDRESS_OCTETS} octets")
    return address


def parse_mailbox(text: str) -> Mailbox:
    """Return the one mailbox that a text is: ``a@b.example``, ``<a@b.example>``, ``Name <a@b.example>``.

    Raises:
        AddressError: If it is not exactly one mailbox, or not one to show as a sender; see :func:`make_mailbox`.
    """
    return make_mailbox(*split_mailbox(text))


def parse_mailboxes(text: str) -> tuple[Mailbox, ...]:
    """Return the mailboxes that a text is, separated by commas: one or more.

    A comma within a display name needs no quotes, as long as the name has no @: ``Doe, John <j@b.example>`` is one.

    Raises:
        AddressError: If one of them is not a mailbox; see :func:`parse_mailbox`.
    """
    if len(text) > MAX_MAILBOX_CHARACTERS:
        raise AddressError(f"is longer than {MAX_MAILBOX_CHARACTERS} characters")
    parts: list[str] = []
    for part in _BETWEEN_COMMAS.findall(text):
        if parts and "@" not in parts[-1]:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return tuple(map(parse_mailbox, parts)) or (parse_mailbox(text),)


def split_mailbox(text: str) -> tuple[str, str]:
    """Return the display name, without its quotes, and the address of a mailbox, both unchecked.

    A template is split before anything is put in, so that no value can become part of the address.

    Raises:
        AddressError: If the text has not the form of one mailbox.
    """
    if len(text) > MAX_MAILBOX_CHARACTERS:
        raise AddressError(f"is longer than {MAX_MAILBOX_CHARACTERS} characters")
    if not text.rstrip(" ").endswith(">"):
        return "", text.strip(" ")
    match = _NAME_AND_ADDRESS.fullmatch(text)
    if not match:
        raise AddressError(
            "is not one mailbox such as `Name <user@example.com>`: put a display name with any of <>@:;\\ in double "
            "quotes"
        )
    if match["quoted"] is not None:
        return _QUOTED_PAIR.sub(r"\1", match["quoted"]), match["address"]
    return match["bare"].strip(" "), match["address"]


def make_mailbox(name: str, address: str) -> Mailbox:
    """Return the mailbox of a display name and an address, each checked.

    A mailbox is shown to people as ours, so its domain may not mix scripts as forgeries do; an address may.

    Raises:
        AddressError: If the name cannot stand in a header, or the address is not one or mixes scripts.
    """
    problem = DISPLAY_NAME.problem(name)
    if problem:
        raise AddressError(f"has a display name that {problem}")
    parsed = parse_address(address)
    try:
        domains.refuse_mixed_scripts(parsed.ascii_domain)
    except domains.DomainError as error:
        raise AddressError(str(error)) from None
    return Mailbox(name, parsed)


def _check_local_part(local: str) -> str:
    if _DOT_ATOM.fullmatch(local) or _QUOTED_STRING.fullmatch(local):
        pass
    elif local.isascii() or not _DOT_ATOM_UTF8.fullmatch(local):
        raise AddressError(
            "is not one address such as user@example.com: before the @ may stand letters, digits, !#$%&'*+/=?^_`{|}~- "
            "and single dots between them; there is no room for a display name, a second address, a comment or blanks"
        )
    elif any(unicodedata.category(character) in _NOT_IN_LOCAL_PART for character in local):
        raise AddressError("has an invisible or unassigned character before the @")
    elif domains.turns_into_ascii(local):
        raise AddressError("has a character before the @ that stands for an ASCII character, such as a full-width one")
    if _ENCODED_WORD.search(local):
        raise AddressError("has an encoded word before the @: write the characters themselves")
    local = unicodedata.normalize("NFC", local)
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        raise AddressError(f"has more than {MAX_LOCAL_OCTETS} octets before the @")
    return local
