"""The lines of the log about messages that a store keeps; each has the message's id, and no personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from smtpconnector_server.outbox.events import (
    AttemptStarted,
    ClaimLost,
    MessageAccepted,
    MessageDeferred,
    MessageEnded,
    StoreSwept,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = structlog.get_logger()


def _accepted(event: MessageAccepted) -> None:
    _log.info("message_accepted", delivery_id=event.delivery_id, profile=event.profile, mode=event.mode.value)


def _started(event: AttemptStarted) -> None:
    structlog.contextvars.bind_contextvars(delivery_id=event.delivery_id)  # for the task of the attempt
    if event.is_taken_over:
        _log.warning("message_taken_over", attempt=event.number)


def _deferred(event: MessageDeferred) -> None:
    attempt = event.attempt
    _log.info(
        "message_deferred",
        delivery_id=event.delivery_id,
        profile=event.profile,
        attempt=event.number,
        host=attempt.host,
        reason=attempt.reason,
        stage=attempt.stage,
        smtp_code=attempt.reply_code or None,
        delay_seconds=round(event.delay, 1),
    )


def _ended(event: MessageEnded) -> None:
    attempt = event.attempt
    _log.info(
        "message_ended",
        delivery_id=event.delivery_id,
        profile=event.profile,
        attempt=event.number,
        state=event.state.value,
        host=attempt.host,
        reason=attempt.reason or None,
        stage=attempt.stage or None,
        smtp_code=attempt.reply_code or None,
        seconds=round(event.seconds, 3),
    )


def _lost(event: ClaimLost) -> None:
    _log.info(
        "claim_lost",
        delivery_id=event.delivery_id,
        attempt=event.number,
        state=event.state.value if event.state is not None else None,
    )


def _swept(event: StoreSwept) -> None:
    swept = event.swept
    if swept.requeued or swept.resent or swept.uncertain or swept.lapsed:
        _log.warning(
            "store_swept",
            requeued=swept.requeued,
            resent=swept.resent,
            uncertain=swept.uncertain,
            lapsed=swept.lapsed,
            purged=swept.purged,
        )


OUTBOX_WRITERS: Final[Mapping[type, Callable[[Any], None]]] = {  # each takes the event that stands before it
    MessageAccepted: _accepted,
    AttemptStarted: _started,
    MessageDeferred: _deferred,
    MessageEnded: _ended,
    ClaimLost: _lost,
    StoreSwept: _swept,
}
