"""The header OTP-Token (draft-goto-otp-token-01): a one-time code for the mail client to fill in at one site only.

Its value is a structured field (RFC 9651), whose quotes no code can break. The draft is not final; when it changes, so
does this module.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.message.header import header_line
from smtpconnector_server.message.payload import text_at

if TYPE_CHECKING:
    from smtpconnector_server.message.payload import Payload
    from smtpconnector_server.message.template import CompiledTemplate

_KEY: Final = "code"
_CODE: Final = re.compile(r"[\x20-\x7e]{1,128}")
"""What a String of RFC 9651 can hold, of a length that people type."""
_QUOTED: Final = re.compile(r'["\\]')


def otp_token_line(template: CompiledTemplate, payload: Payload, origin: str, *, opaque: bool) -> str:
    """Return the header with its CRLF, or nothing for a mail that shows no code.

    Args:
        template: Of the mail: a code that people do not see is not for machines either.
        payload: Holds the code.
        origin: The site that the code is for, as its canonical origin.
        opaque: As for :func:`.header.header_line`.
    """
    if _KEY not in template.paths or isinstance(payload.get(_KEY), dict | list):
        return ""
    code = text_at(payload, (_KEY,))
    if code is None or not _CODE.fullmatch(code):
        return ""
    quoted = _QUOTED.sub(r"\\\g<0>", code)
    return header_line("OTP-Token", f'"{quoted}"; origin="{origin}"', opaque=opaque)
