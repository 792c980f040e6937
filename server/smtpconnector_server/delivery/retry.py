"""Whether a message is tried once more inside its deadline: a pure decision.

Only a message that was certainly not sent is tried again, and only where a new connection can make a difference. What
a server refused in words, even for the moment, is the caller's to retry: he has the delay that the server asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage

if TYPE_CHECKING:
    from smtpconnector_server.smtp.reply import Reply

MAX_ATTEMPTS: Final = 3
"""Connections tried for one message: a pooled one that went stale, and a fresh one that broke once."""

_CONNECTION_BROKE: Final = frozenset(
    {Reason.SMTP_CONNECTION_LOST, Reason.SMTP_TLS_TEMPORARY, Reason.SMTP_PROTOCOL_ERROR}
)
"""What may go better on another connection: a server that lost its place in a flight gets fewer commands at once."""
_CLOSING: Final = 421
_TIMED_OUT: Final = "4.4.2"
_TOO_MANY_ON_IT: Final = re.compile(r"\b(?:session|connection)\b", re.IGNORECASE)


def may_retry(failure: Failure, *, attempt: int, session_was_used: bool) -> bool:
    """Tell whether another connection may be tried.

    Args:
        failure: How the attempt ended.
        attempt: Its number, from 1.
        session_was_used: Whether its session had served another message before.
    """
    if failure.outcome is not Outcome.NOT_SENT or attempt >= MAX_ATTEMPTS:
        return False
    if failure.reply is not None:
        return session_was_used and failure.stage is Stage.MAIL and _is_about_the_session(failure.reply)
    is_last_chance = attempt == MAX_ATTEMPTS - 1
    return failure.reason in _CONNECTION_BROKE and (session_was_used or not is_last_chance)


def _is_about_the_session(reply: Reply) -> bool:
    """Tell what a server says of a session that is worn out (idle too long, enough messages) from a refusal."""
    return reply.code == _CLOSING or reply.enhanced_code == _TIMED_OUT or bool(_TOO_MANY_ON_IT.search(reply.text))
