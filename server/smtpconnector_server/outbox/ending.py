"""What becomes of a message after an attempt: a pure decision, and the words that the store keeps of it.

A call that waits hears of a failure at once and decides by itself: only what a server says for good of this very
message is an end that stays, after anything else the same request tries anew. A message of the queue is tried again
after all that may pass, which includes what is wrong with its profile (a password, a certificate, a name): somebody may
mend it before the message expires.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.store.record import Attempt, Ending
from smtpconnector_server.store.state import State

if TYPE_CHECKING:
    from smtpconnector_server.delivery.sender import Sent
    from smtpconnector_server.store.record import Kept

FIRST_DELAY: Final = 2.0
"""Seconds: the upper end of the first delay between two attempts, doubled with each deferral."""
MAX_DELAY: Final = 600.0

_OF_THE_MESSAGE: Final = frozenset({Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.MESSAGE})
_HOPELESS: Final = frozenset(
    {Reason.SMTP_SMTPUTF8_UNSUPPORTED, Reason.SMTP_MESSAGE_TOO_LARGE, Reason.EGRESS_DENIED, Reason.INVALID_REQUEST}
)
"""Reasons that no time mends, whatever their outcome."""


def sent(result: Sent, host: str) -> Ending:
    """Return the end of a message that was accepted."""
    reply = result.reply
    return Ending(
        state=State.SENT,
        attempt=Attempt(
            host=host,
            reply_code=reply.code,
            reply_enhanced_code=reply.enhanced_code,
            reply_text=reply.text,
            connections=result.attempts,
        ),
    )


def failed(failure: Failure, kept: Kept, *, is_waited_for: bool) -> Ending:
    """Return what becomes of a message whose attempt failed.

    Args:
        failure: Why.
        kept: The message as it was before the attempt.
        is_waited_for: Whether a call waits for it and is told the failure.
    """
    attempt = told(failure)
    if failure.outcome is Outcome.UNKNOWN:
        if kept.resends_left:
            return Ending(state=State.QUEUED, attempt=attempt, is_resend=True)
        return Ending(state=State.UNKNOWN, attempt=attempt)
    if failure.reason is Reason.DELIVERY_EXPIRED:
        return Ending(state=State.EXPIRED, attempt=attempt)
    is_refused = failure.outcome is Outcome.REJECTED and _is_about_the_message(failure)
    if is_waited_for:
        return Ending(state=State.REJECTED if is_refused else State.NOT_SENT, attempt=attempt)
    if is_refused or failure.reason in _HOPELESS:
        return Ending(state=State.REJECTED, attempt=attempt)
    return Ending(state=State.QUEUED, attempt=attempt, delay=_delay(kept.deferrals, failure.retry_after))


def released(*, is_committed: bool, kept: Kept) -> Ending:
    """Return what becomes of a message whose server stops before the attempt has an end."""
    if not is_committed:
        stopped = Failure(Reason.SHUTTING_DOWN, "The server that was sending it stopped.", stage=Stage.STORE)
        return Ending(state=State.QUEUED, attempt=told(stopped), counts=False)
    lost = Failure(
        Reason.DELIVERY_UNCERTAIN,
        "The server stopped after the message was sent and before the reply: it may or may not arrive.",
        stage=Stage.MESSAGE,
        outcome=Outcome.UNKNOWN,
    )
    return failed(lost, kept, is_waited_for=False)


def lapsed() -> Ending:
    """Return what becomes of a message whose time was over before its last octet: the store's next sweep says it."""
    return Ending(state=State.QUEUED, attempt=Attempt(), counts=False)


def broken(*, is_committed: bool) -> Failure:
    """Return the failure of an attempt that ended by a defect of this program."""
    return Failure(
        Reason.INTERNAL,
        "The server broke while it was sending the message. Whoever runs it finds why in its log.",
        stage=Stage.MESSAGE if is_committed else Stage.STORE,
        outcome=Outcome.UNKNOWN if is_committed else Outcome.NOT_SENT,
    )


def told(failure: Failure) -> Attempt:
    """Return what the store keeps of a failure."""
    reply = failure.reply or Reply(0)
    return Attempt(
        host=failure.host,
        reason=failure.reason,
        stage=failure.stage,
        text=failure.message,
        reply_code=reply.code,
        reply_enhanced_code=reply.enhanced_code,
        reply_text=reply.text,
        connections=failure.attempts,
    )


def _is_about_the_message(failure: Failure) -> bool:
    """Tell what a server says of this message, or of this sender and recipient, from what it says of the profile."""
    return failure.stage in _OF_THE_MESSAGE and failure.reason is not Reason.SMTP_AUTH_REQUIRED


def _delay(deferrals: int, retry_after: float | None) -> float:
    """Return the seconds until the next attempt: full jitter, so that what failed together does not come together."""
    jitter = random.uniform(0, min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(deferrals, 16)))  # noqa: S311 - not a secret
    return (retry_after or 0.0) + jitter
