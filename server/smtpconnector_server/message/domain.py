"""Domain names (RFC 5890 to 5892, IDNA2008): what is checked is what goes out.

Nothing is mapped but letter case and Unicode's canonical composition. UTS 46, which browsers and the email-validator
library apply, also maps full-width letters, ignorable characters and more, so that one name is checked and logged and
another one is used. A character that turns into ASCII under compatibility normalisation is refused for the same reason.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import idna

MAX_OCTETS: Final = 253

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ASCII_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")
_ACE_PREFIX: Final = "xn--"

# Scripts that are written together within one word: Japanese, Chinese with Bopomofo, Korean; Latin beside each
# (UTS 39, section 5.2, "highly restrictive").
_MIXABLE_SCRIPTS: Final = (
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "HANGUL"}),
)


class DomainError(ValueError):
    """A domain name that is none; the text says why, without the name."""


def to_ascii(domain: str) -> str:
    """Return a domain name in lower-case A-labels.

    Raises:
        DomainError: If it is not a name of two or more labels of letters, digits and hyphens, or their IDNA2008 kin.
    """
    if len(domain) > MAX_OCTETS:
        raise DomainError(f"has a domain longer than {MAX_OCTETS} octets")
    lowered = _lower(domain)
    if not lowered.isascii() or _ACE_PREFIX in lowered:
        lowered = ".".join(map(_to_a_label, lowered.split(".")))
    if not _ASCII_DOMAIN.fullmatch(lowered):
        raise DomainError(
            "has a malformed domain: it must be two or more names joined by dots, each of at most 63 letters, digits "
            "and inner hyphens, the last one not all digits"
        )
    if len(lowered) > MAX_OCTETS:
        raise DomainError(f"has a domain longer than {MAX_OCTETS} octets")
    return lowered


def to_unicode(ascii_domain: str) -> str:
    """Return a domain name that :func:`to_ascii` gave in U-labels."""
    if _ACE_PREFIX not in ascii_domain:
        return ascii_domain
    return ".".join(idna.ulabel(label) if label.startswith(_ACE_PREFIX) else label for label in ascii_domain.split("."))


def refuse_mixed_scripts(ascii_domain: str) -> None:
    """Refuse a domain whose labels mix scripts, as Latin letters with a Cyrillic one among them do.

    The letters of one label must be of one script, or of scripts that one language writes together. Digits, hyphens
    and combining marks belong to every script. A label wholly in one script that looks like another is not noticed.

    Raises:
        DomainError: If a label mixes scripts.
    """
    for label in to_unicode(ascii_domain).split("."):
        if label.isascii():
            continue
        scripts = {_script(character) for character in label if character.isalpha()}
        if len(scripts) > 1 and not any(scripts <= mixable for mixable in _MIXABLE_SCRIPTS):
            raise DomainError("has a domain that mixes letters of several scripts in one label, as forgeries do")


def turns_into_ascii(text: str) -> bool:
    """Tell whether a character of the text looks like ASCII to software that normalises by compatibility (NFKC)."""
    return not text.isascii() and any(
        not character.isascii() and any(map(str.isascii, unicodedata.normalize("NFKC", character)))
        for character in text
    )


def _lower(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    if turns_into_ascii(domain):
        raise DomainError("has a character in its domain that stands for an ASCII character, such as a full-width one")
    # By character: the lower case of a final sigma depends on its place, which is no business of a domain name.
    return unicodedata.normalize("NFC", "".join(map(str.lower, domain)))


def _to_a_label(label: str) -> str:
    if label.isascii() and not label.startswith(_ACE_PREFIX):
        return label
    try:
        return idna.alabel(label).decode("ascii")
    except UnicodeError:  # IDNAError is one
        raise DomainError("has a domain that is not valid under IDNA2008") from None  # its text shows the label


def _script(letter: str) -> str:
    """Return the script that a letter's Unicode name begins with."""
    return re.split(r"[ -]", unicodedata.name(letter, ""), maxsplit=1)[0]
