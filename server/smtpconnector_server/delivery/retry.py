"""Whether a message is tried once more inside its deadline: a pure decision.

Only a message that was certainly not sent is tried again, and only where a new connection can make a difference. What
a server refused in words, even for the moment, is the caller's to retry: he has the delay that the server asked for.
"""

from __future__ import annotations

from typing import Final

from smtpconnector_server.failure import Failure, Outcome, Reason

MAX_ATTEMPTS: Final = 3
"""Connections tried for one message: a pooled one that went stale, and a fresh one that broke once."""

_CONNECTION_BROKE: Final = frozenset(
    {Reason.SMTP_CONNECTION_LOST, Reason.SMTP_TLS_TEMPORARY, Reason.SMTP_PROTOCOL_ERROR}
)
"""What may go better on another connection: a server that lost its place in a flight gets fewer commands at once."""
_SESSION_WORN_OUT: Final = frozenset(
    {Reason.SMTP_CONNECTION_LOST, Reason.SMTP_SERVICE_UNAVAILABLE, Reason.SMTP_RATE_LIMITED, Reason.SMTP_PROTOCOL_ERROR}
)
"""What a pooled session may die of that says nothing about a fresh one: closed while idle, 421, too many messages."""


def may_retry(failure: Failure, *, attempt: int, session_was_used: bool) -> bool:
    """Tell whether another connection may be tried.

    Args:
        failure: How the attempt ended.
        attempt: Its number, from 1.
        session_was_used: Whether its session had served another message before.
    """
    if failure.outcome is not Outcome.NOT_SENT or attempt >= MAX_ATTEMPTS:
        return False
    if session_was_used:
        return failure.reason in _SESSION_WORN_OUT
    spoke = failure.reply is not None
    return failure.reason in _CONNECTION_BROKE and not spoke and attempt < MAX_ATTEMPTS - 1
