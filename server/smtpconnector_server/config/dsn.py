"""Delivery status notifications (RFC 3461): what is asked for can be asked for, or a finding says why not.

As nodemailer reads it, in one more respect strictly: what would not fit its parameter is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.model import Dsn, DsnEvent, DsnReturn
from smtpconnector_server.message.address import AddressError, parse_address

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import DsnDraft, Said
    from smtpconnector_server.config.finding import Findings

_RETURNS: Final = {
    "full": DsnReturn.FULL,
    "body": DsnReturn.FULL,
    "hdrs": DsnReturn.HEADERS,
    "headers": DsnReturn.HEADERS,
}
_MAX_ENVELOPE_ID: Final = 100
"""Octets, encoded (RFC 3461, section 4.4)."""
_ENCODED: Final = re.compile(r"[+= ]")
"""Characters that take three octets in xtext."""
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
_ADDRESS_TYPE: Final = re.compile(r"[A-Za-z0-9-]{1,40}")
_MAIL: Final = "rfc822"


def read_dsn(draft: DsnDraft, findings: Findings) -> Dsn | None:
    """Return what to ask for; None for nothing."""
    dsn = Dsn(
        envelope_id=_envelope_id(draft.envelope_id, findings),
        returned=_returned(draft.returned, findings),
        notify=_notify(draft.notify, findings),
        original_recipient=_original_recipient(draft.original_recipient, findings),
    )
    return dsn if dsn != Dsn() else None


def _envelope_id(said: Said[str], findings: Findings) -> str | None:
    text = said.value
    if text is None:
        return None
    if not _PRINTABLE.fullmatch(text) or len(text) + 2 * len(_ENCODED.findall(text)) > _MAX_ENVELOPE_ID:
        findings.error(
            said.path,
            "INVALID_VALUE",
            f"{said.path} must be printable ASCII of at most {_MAX_ENVELOPE_ID} octets, of which a blank, + and = take"
            " three each.",
        )
        return None
    return text


def _returned(said: Said[str], findings: Findings) -> DsnReturn | None:
    if said.value is None:
        return None
    returned = _RETURNS.get(said.value.lower())
    if returned is None:
        findings.error(said.path, "INVALID_VALUE", f"{said.path} must be full or headers.")
    return returned


def _notify(said: Said[str | list[str]], findings: Findings) -> tuple[DsnEvent, ...]:
    if said.value is None:
        return ()
    names = said.value.split(",") if isinstance(said.value, str) else said.value
    events = []
    for name in (name.strip().upper() for name in names):
        if name in DsnEvent.__members__:
            events.append(DsnEvent[name])
        elif name:
            findings.error(
                said.path,
                "INVALID_VALUE",
                f"{said.path} must be never, or of success, failure and delay, those wanted.",
            )
    events = list(dict.fromkeys(events))
    if DsnEvent.NEVER in events and len(events) > 1:
        findings.error(
            said.path,
            "CONTRADICTION",
            f"{said.path} asks for never and for more.",
            "Write never alone, or leave it out.",
        )
    return tuple(events)


def _original_recipient(said: Said[str], findings: Findings) -> str | None:
    if said.value is None:
        return None
    kind, semicolon, address = said.value.partition(";")
    if not semicolon:
        kind, address = _MAIL, said.value
    if not _ADDRESS_TYPE.fullmatch(kind) or not address or not _PRINTABLE.fullmatch(address):
        findings.error(
            said.path,
            "INVALID_VALUE",
            f"{said.path} must be an address in ASCII, or its type, a semicolon and the address.",
        )
        return None
    if kind.lower() == _MAIL:
        try:
            parse_address(address)
        except AddressError as error:
            findings.error(said.path, "INVALID_ADDRESS", f"{said.path} {error}.")
            return None
    findings.warning(
        said.path,
        "SAME_FOR_EVERY_MAIL",
        f"{said.path} stands in every mail, whoever its recipient is.",
        "Leave it out: notifications name the recipient anyway.",
    )
    return f"{kind};{address}"
