"""Text of an example, or the name of a variable, that still stands where a value belongs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.config.draft import Said
from smtpconnector_server.config.origin import Origin

if TYPE_CHECKING:
    from smtpconnector_server.config.draft import Draft
    from smtpconnector_server.config.finding import Findings

# What an example shows in place of a value: <your-gmail-address>, <password>. `<a@b.example>` is a mailbox.
_EXAMPLE_TEXT: Final = re.compile(r"<[A-Za-z][A-Za-z0-9 `'._-]*>")
_VARIABLE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


def is_left_over(text: str) -> bool:
    """Whether a text is that of an example."""
    return _EXAMPLE_TEXT.fullmatch(text.strip()) is not None


def check_left_overs(draft: Draft, findings: Findings) -> None:
    """Say where the text of an example stands in place of a value."""
    account: tuple[Said[str], ...] = ()
    if draft.auth is not None:
        fields = (getattr(draft.auth, name) for name in draft.auth.__dataclass_fields__)
        account = tuple(said for said in fields if isinstance(said, Said) and isinstance(said.value, str))
    plain = (draft.host, draft.from_email, draft.reply_to, draft.client_hostname, draft.local_address)
    for said in (*plain, *account):
        if said.value is None:
            continue
        if is_left_over(said.value):
            findings.error(
                said.path,
                "PLACEHOLDER_TEXT",
                f"{said.path} still holds the text of an example.",
                "Put your own value in its place, without < and >.",
            )
        elif draft.origin is Origin.CALLER and _VARIABLE.fullmatch(said.value):
            findings.warning(
                said.path,
                "VARIABLE_NOT_REPLACED",
                f"{said.path} names a variable, which is replaced in profiles of the server only.",
                "Send the value itself, or make this configuration a profile.",
            )
