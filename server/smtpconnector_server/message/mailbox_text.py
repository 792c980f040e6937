"""A mailbox with placeholders, as a template's ``send_from`` and ``reply_to``.

The text is split into display name and address before any value is put in. A value in the name stays in the name: it
can change neither the address nor the number of mailboxes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Violation
from smtpconnector_server.message.address import (
    MAX_MAILBOX_CHARACTERS,
    AddressError,
    Mailbox,
    make_mailbox,
    split_mailbox,
)
from smtpconnector_server.message.placeholder import PlaceholderText
from smtpconnector_server.message.text_rule import DISPLAY_NAME, HEADER_TEXT

if TYPE_CHECKING:
    from smtpconnector_server.message.payload import Payload

MAX_NAME_CHARACTERS: Final = 64
"""Of a display name with a value in it: what comes after is out of sight in most inboxes, a place to mislead."""
_NEVER_IN_ADDRESS: Final = re.compile(r"[\s<>(),;:\\]")
_LINK: Final = re.compile(r"://|\bwww\.", re.IGNORECASE)


class MailboxText:
    """A mailbox with placeholders, ready to be rendered.

    Args:
        text: The mailbox as written.
        name: What it is of the template: ``send_from`` or ``reply_to``.

    Raises:
        AddressError: If it is not one mailbox, or would be none with any value.
    """

    __slots__ = ("_address", "_field", "_fixed", "_is_one_value", "_name")

    def __init__(self, text: str, *, name: str) -> None:
        name_text, address_text = split_mailbox(text)
        self._field = name
        self._name = PlaceholderText(name_text, name=name, rule=DISPLAY_NAME, max_length=MAX_MAILBOX_CHARACTERS)
        self._address = PlaceholderText(address_text, name=name, rule=HEADER_TEXT, max_length=MAX_MAILBOX_CHARACTERS)
        address_is_known = not self._address.paths
        if not address_is_known and _NEVER_IN_ADDRESS.search(self._address.literal):
            raise AddressError("is not one mailbox such as `{{name}} <{{address}}>`, whatever the values")
        checked = make_mailbox(name_text, address_text if address_is_known else "user@example.com")
        self._is_one_value = not name_text and not self._address.literal and len(self._address.paths) == 1
        self._fixed = checked if address_is_known and not self._name.paths else None

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths into the payload, each once, in the order in which they first occur."""
        return tuple(dict.fromkeys((*self._name.paths, *self._address.paths)))

    def render(self, payload: Payload, violations: list[Violation], field: str) -> Mailbox | None:
        """Return the mailbox with the payload's values in it; None when that is empty.

        A mailbox that is nothing but one value is empty too when the payload does not have that value: a mail for
        somebody who has no account yet has no ``{{user.primaryEmail}}`` to answer to.

        Args:
            payload: The values.
            violations: Where to add what is wrong. The result may be used only when nothing was added.
            field: The path of the template that this mailbox is of.
        """
        if self._fixed:
            return self._fixed
        where = f"{field}.{self._field}"
        unresolved = self._address.unresolved(payload)
        if unresolved and self._is_one_value:
            return None
        faults = len(violations)
        name = self._name.render(payload, violations, field).strip(" ")
        address = self._address.render(payload, violations, field)
        self._check_name(name, violations, where)
        violations.extend(
            Violation(f"payload.{path}", f"is missing, and the address of {where} is made of it") for path in unresolved
        )
        if len(violations) > faults or not (name or address):
            return None
        try:
            return make_mailbox(name, address)
        except AddressError as error:
            violations.append(Violation(f"payload.{self.paths[-1]}", f"makes {where} no mailbox: it {error}"))
            return None

    def _check_name(self, name: str, violations: list[Violation], where: str) -> None:
        if not self._name.paths:
            return
        path = f"payload.{self._name.paths[0]}"
        if len(name) > MAX_NAME_CHARACTERS:
            problem = f"makes the display name of {where} longer than {MAX_NAME_CHARACTERS} characters"
            violations.append(Violation(path, problem))
        if _LINK.search(name):
            violations.append(Violation(path, f"puts a link into the display name of {where}"))
