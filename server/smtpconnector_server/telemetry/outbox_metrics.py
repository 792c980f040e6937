"""The metrics of the messages that a store keeps, and of the store itself.

How full the queue is, is true of the store and not of a process: of several workers the newest look counts, and of
several servers on one store any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from smtpconnector_server.failure import Reason
from smtpconnector_server.outbox.events import (
    ClaimLost,
    MessageAccepted,
    MessageDeferred,
    MessageEnded,
    QueueMeasured,
    StoreSwept,
)
from smtpconnector_server.store.events import StoreAsked
from smtpconnector_server.telemetry.labels import OK, OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpconnector_server.telemetry.families import Families

CHANGES: Final = ("requeued", "resent", "uncertain", "lapsed", "purged")
"""The fields of :class:`~smtpconnector_server.store.record.Swept`."""
GONE: Final = "GONE"
"""The state of a message that is not known any more."""

_ALWAYS_ASKED: Final = ("accept", "beat", "claim", "commit", "finish", "sweep")
"""Operations whose first failure is told of as a rise from nought."""
_MESSAGE_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_STORE_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class OutboxMetrics:
    """Counts what the outbox and the store tell.

    Args:
        families: Make the metrics.
    """

    def __init__(self, families: Families) -> None:
        self._accepted = families.counter("messages_accepted", "Messages that the store took.", "profile", "mode")
        self._ended = families.counter(
            "messages_ended", "Messages that an attempt brought to their end.", "profile", "state", "reason"
        )
        self._attempts = families.counter(
            "message_attempts", "Attempts to send kept messages, by how they ended.", "profile", "reason"
        )
        self._seconds = families.histogram(
            "message_seconds", "Time from the acceptance of a message to its end.", _MESSAGE_BUCKETS, "mode", "state"
        )
        self._lost = families.counter(
            "claims_lost", "Attempts that were stopped because somebody else had decided about the message.", "state"
        )
        self._swept = families.counter("messages_swept", "Messages that time changed in the store.", "change")
        self._depth = families.gauge("queue_messages", "Messages in the store.", "state", mode="livemostrecent")
        self._oldest = families.gauge(
            "queue_oldest_due_seconds", "How long the first of the queue has been due.", mode="livemostrecent"
        )
        self._store_seconds = families.histogram(
            "store_seconds", "Time that the store took.", _STORE_BUCKETS, "operation"
        )
        self._store_failures = families.counter("store_failures", "What the store could not do.", "operation")
        self.counters: Mapping[type, Callable[[Any], None]] = {  # each takes the event that stands before it
            MessageAccepted: lambda event: self._accepted[event.profile or OWN, event.mode].inc(),
            MessageDeferred: self._deferred,
            MessageEnded: self._message_ended,
            ClaimLost: lambda event: self._lost[event.state or GONE,].inc(),
            StoreSwept: self._store_swept,
            QueueMeasured: self._queue_measured,
            StoreAsked: self._store_asked,
        }
        for change in CHANGES:
            self._swept[change,].inc(0)
        for operation in _ALWAYS_ASKED:
            self._store_failures[operation,].inc(0)

    def _deferred(self, event: MessageDeferred) -> None:
        self._attempts[event.profile or OWN, event.attempt.reason or Reason.DELIVERY_EXPIRED].inc()

    def _message_ended(self, event: MessageEnded) -> None:
        profile, reason = event.profile or OWN, event.attempt.reason or OK
        self._attempts[profile, reason].inc()
        self._ended[profile, event.state, reason].inc()
        self._seconds[event.mode, event.state].observe(event.seconds)

    def _store_swept(self, event: StoreSwept) -> None:
        for change in CHANGES:
            number = getattr(event.swept, change)
            if number:
                self._swept[change,].inc(number)

    def _queue_measured(self, event: QueueMeasured) -> None:
        for state, number in event.depth.by_state.items():
            self._depth[state,].set(number)
        self._oldest[()].set(event.depth.oldest_due_seconds)

    def _store_asked(self, event: StoreAsked) -> None:
        self._store_seconds[event.operation,].observe(event.seconds)
        if event.has_failed:
            self._store_failures[event.operation,].inc()
