"""The adapter to Prometheus: counts and times what the rooms tell.

Every label has few values, and none that a caller could choose: a profile goes by its name, all configurations that
callers bring are `own`, and no recipient is ever a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smtpconnector_server import __version__
from smtpconnector_server.config.origin import Origin
from smtpconnector_server.delivery.events import SENT, MailEnded, MailSettled
from smtpconnector_server.failure import Outcome, Reason, Stage
from smtpconnector_server.rpc.events import CallEnded, LimitCountedAlone, MailComposed
from smtpconnector_server.smtp.events import (
    BreakerOpened,
    PauseHeard,
    SessionAwaited,
    SessionFailed,
    SessionOpened,
    SteppedDown,
    TokenRenewed,
    TransactionEnded,
)
from smtpconnector_server.telemetry.families import Families
from smtpconnector_server.telemetry.labels import OK, OWN
from smtpconnector_server.telemetry.outbox_metrics import OutboxMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smtpconnector_server.failure import Failure
    from smtpconnector_server.smtp.pool_counts import PoolCounts
    from smtpconnector_server.telemetry.hook import Listeners

TRANSACTION: Final = "TRANSACTION"
"""The stage from MAIL to the reply to the message, beside those of :class:`.failure.Stage`."""

_CALL_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STAGE_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROUND_TRIP_BUCKETS: Final = (1, 2, 3, 4, 5, 8)


class Metrics:
    """The metrics of a process.

    Args:
        profiles: Their names, so that what matters most is there before it happens first.
    """

    def __init__(self, profiles: Iterable[str] = ()) -> None:
        families = Families()
        self.registry = families.registry
        self._outbox = OutboxMetrics(families)
        self._calls = families.counter("calls", "Calls answered.", "method", "code", "reason")
        self._call_seconds = families.histogram("call_seconds", "Time to the answer.", _CALL_BUCKETS, "method")
        self._mails = families.counter(
            "mails", "Mails by what their callers were told.", "profile", "outcome", "reason"
        )
        self._retries = families.counter("mail_retries", "Connections tried for mails beyond the first.", "profile")
        self._late = families.counter(
            "late_replies", "Ends of mails that were UNKNOWN to their callers.", "profile", "outcome"
        )
        self._stages = families.histogram(
            "stage_seconds", "Time that mails and log-ins spent.", _STAGE_BUCKETS, "stage"
        )
        self._round_trips = families.histogram(
            "transaction_round_trips", "Round trips of a mail on its session.", _ROUND_TRIP_BUCKETS, "level"
        )
        self._opened = families.counter("sessions_opened", "SMTP sessions opened.", "server")
        self._failed = families.counter("session_failures", "SMTP sessions that failed to open.", "server", "reason")
        self._stepped_down = families.counter(
            "level_step_downs", "Servers that got a lower level for a day.", "server", "lowered"
        )
        self._breaker_openings = families.counter(
            "breaker_openings", "Pauses begun after repeated failures to open a session.", "server"
        )
        self._pauses_heard = families.counter("pauses_heard", "Pauses that another process began, kept here.", "server")
        self._tokens = families.counter("token_renewals", "OAuth 2.0 access tokens asked for.", "reason")
        self._counted_alone = families.counter(
            "limits_counted_alone", "Mails counted against a limit without the other servers."
        )
        self._sessions = families.gauge("pool_sessions", "SMTP sessions in the pool.", "server", "state")
        self._waiting = families.gauge("pool_waiting", "Mails that wait for a session.", "server")
        self._open_breakers = families.gauge("breakers_open", "Servers in a pause after failures.", "server")
        self._under_way = families.gauge("mails_under_way", "Mails on their way, those without a caller included.")
        self._lag = families.gauge("loop_lag_seconds", "How late the event loop was.", mode="livemax")
        version = families.gauge("build_info", "The server's version; the value is 1.", "version", mode="livemax")
        version[__version__,].set(1)
        self._calls["SendMessage", Reason.INTERNAL, Reason.INTERNAL].inc(0)
        for name in (*profiles, OWN):
            self._mails[name, SENT, OK].inc(0)
            self._mails[name, Outcome.UNKNOWN, Reason.DELIVERY_UNCERTAIN].inc(0)

    def listeners(self, origin: Origin = Origin.PROFILE) -> Listeners:
        """Return what counts events, by their kind.

        Args:
            origin: Whose servers they are about.
        """

        def server(event: SessionOpened | SessionFailed | SteppedDown | BreakerOpened | PauseHeard) -> str:
            return server_label(origin, event.host, event.port)

        return {  # each takes the event that stands before it
            CallEnded: self._call_ended,
            MailComposed: lambda event: self._stages[Stage.COMPOSE,].observe(event.seconds),
            LimitCountedAlone: lambda _event: self._counted_alone[()].inc(),
            MailEnded: self._mail_ended,
            MailSettled: lambda event: self._late[event.profile or OWN, event.outcome].inc(),
            SessionAwaited: lambda event: self._stages[Stage.POOL,].observe(event.seconds),
            TransactionEnded: self._transaction_ended,
            SessionOpened: lambda event: self._session_opened(event, server(event)),
            SessionFailed: lambda event: self._session_failed(event, server(event)),
            SteppedDown: lambda event: self._stepped_down[server(event), event.lowered.name].inc(),
            BreakerOpened: lambda event: self._breaker_openings[server(event),].inc(),
            PauseHeard: lambda event: self._pauses_heard[server(event),].inc(),
            TokenRenewed: lambda event: self._tokens[_reason(event.failure),].inc(),
            **self._outbox.counters,
        }

    def take(self, counts: Mapping[str, PoolCounts], *, under_way: int, lag_seconds: float) -> None:
        """Take a sample of what is counted at a moment.

        Args:
            counts: Of the pools, by server. A server that is not there any more has nothing.
            under_way: Mails on their way.
            lag_seconds: How late the event loop was.
        """
        for (server, *_), gauge in (*self._sessions.items(), *self._waiting.items(), *self._open_breakers.items()):
            if server not in counts:
                gauge.set(0)
        for server, count in counts.items():
            self._sessions[server, "idle"].set(count.idle)
            self._sessions[server, "lent"].set(count.lent)
            self._sessions[server, "opening"].set(count.opening)
            self._waiting[server,].set(count.waiting)
            self._open_breakers[server,].set(count.open_breakers)
        self._under_way[()].set(under_way)
        self._lag[()].set(lag_seconds)

    def _call_ended(self, event: CallEnded) -> None:
        reason = event.code if event.failure is None else event.failure.reason
        self._calls[event.method, event.code, reason].inc()
        self._call_seconds[event.method,].observe(event.seconds)

    def _mail_ended(self, event: MailEnded) -> None:
        profile, failure = event.profile or OWN, event.failure
        if failure is None:
            self._mails[profile, SENT, OK].inc()
        else:
            self._mails[profile, failure.outcome, failure.reason].inc()
        if event.attempts > 1:
            self._retries[profile,].inc(event.attempts - 1)

    def _transaction_ended(self, event: TransactionEnded) -> None:
        self._stages[TRANSACTION,].observe(event.seconds)
        self._round_trips[event.level.name,].observe(event.round_trips)

    def _session_opened(self, event: SessionOpened, server: str) -> None:
        self._opened[server,].inc()
        self._take_steps(event)

    def _session_failed(self, event: SessionFailed, server: str) -> None:
        self._failed[server, event.failure.reason].inc()
        self._take_steps(event)

    def _take_steps(self, event: SessionOpened | SessionFailed) -> None:
        for stage, seconds in event.steps:
            self._stages[stage,].observe(seconds)


def server_label(origin: Origin, host: str, port: int) -> str:
    """Return how a server is called: an operator's by its address, callers' all alike."""
    return OWN if origin is Origin.CALLER else f"{host}:{port}"


def _reason(failure: Failure | None) -> str:
    return OK if failure is None else failure.reason
