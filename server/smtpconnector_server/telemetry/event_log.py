"""The adapter to logs: what happens beside the calls, one line an event.

The boundary writes the line of a call itself; this binds to it what becomes known on the way. A recipient appears only
as a hash with a key, so that lines about one recipient can be found by whoever has the address and the key.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog

from smtpconnector_server.delivery.events import MailSettled
from smtpconnector_server.rpc.events import LimitCountedAlone, LimitsShared, MailComposed
from smtpconnector_server.smtp.events import (
    BreakerClosed,
    BreakerOpened,
    LineSaid,
    PauseHeard,
    SessionClosed,
    SessionFailed,
    SessionOpened,
    SteppedDown,
    TokenRenewed,
)
from smtpconnector_server.telemetry.outbox_log import OUTBOX_WRITERS

if TYPE_CHECKING:
    from smtpconnector_server.telemetry.hook import Listeners

_HASH_OCTETS: Final = 8

_log = structlog.get_logger()


class EventLog:
    """Writes events to the log.

    Args:
        key: Of the hashes of recipients. None: one of this process alone.
    """

    def __init__(self, key: bytes | None = None) -> None:
        # Begun once: to set a key up costs more than to hash an address with it.
        self._hash = hmac.new(key or secrets.token_bytes(32), digestmod="sha256")
        self.listeners: Listeners = {  # each takes the event that stands before it
            MailComposed: self._bind_mail,
            LimitCountedAlone: _limit_counted_alone,
            LimitsShared: lambda _event: _log.info("limits_shared"),
            MailSettled: _mail_settled,
            SessionOpened: _session_opened,
            SessionFailed: _session_failed,
            SessionClosed: _session_closed,
            SteppedDown: _stepped_down,
            BreakerOpened: _breaker_opened,
            BreakerClosed: _breaker_closed,
            PauseHeard: _pause_heard,
            TokenRenewed: _token_renewed,
            LineSaid: _line_said,
            **OUTBOX_WRITERS,
        }

    def _bind_mail(self, event: MailComposed) -> None:
        composed = event.composed
        structlog.contextvars.bind_contextvars(
            host=composed.server.host, recipient=self._hashed(composed.mail.recipient)
        )

    def _hashed(self, recipient: str) -> str:
        """Return the first octets, in hexadecimal, of HMAC-SHA256 over an address in lower case."""
        begun = self._hash.copy()
        begun.update(recipient.lower().encode())
        return begun.digest()[:_HASH_OCTETS].hex()


def _mail_settled(event: MailSettled) -> None:
    _log.warning("late_reply", host=event.host, profile=event.profile, outcome=event.outcome)


def _limit_counted_alone(event: LimitCountedAlone) -> None:
    if event.error is not None:
        _log.warning("limits_counted_alone", error=event.error)


def _session_opened(event: SessionOpened) -> None:
    _log.debug(
        "session_opened",
        host=event.host,
        port=event.port,
        tls=event.capabilities.tls_version,
        milliseconds=_milliseconds(event.seconds),
        steps={str(stage): _milliseconds(seconds) for stage, seconds in event.steps},
    )


def _session_failed(event: SessionFailed) -> None:
    failure = event.failure
    _log.info(
        "session_failed",
        host=event.host,
        port=event.port,
        reason=failure.reason.value,
        stage=failure.stage.value,
        smtp_code=failure.reply.code if failure.reply else None,
        milliseconds=_milliseconds(event.seconds),
    )


def _session_closed(event: SessionClosed) -> None:
    _log.debug("session_closed", host=event.host, port=event.port, why=event.why, messages=event.messages)


def _stepped_down(event: SteppedDown) -> None:
    _log.warning(
        "stepped_down",
        host=event.host,
        port=event.port,
        level=event.level.name,
        lowered=event.lowered.name,
        why=event.why,
    )


def _breaker_opened(event: BreakerOpened) -> None:
    _log.warning(
        "breaker_opened",
        host=event.host,
        port=event.port,
        pause_seconds=event.seconds,
        reason=event.failure.reason.value,
        stage=event.failure.stage.value,
    )


def _breaker_closed(event: BreakerClosed) -> None:
    _log.info("breaker_closed", host=event.host, port=event.port)


def _pause_heard(event: PauseHeard) -> None:
    _log.info(
        "pause_heard",
        host=event.host,
        port=event.port,
        pause_seconds=round(event.seconds, 1),
        reason=event.reason.value,
    )


def _token_renewed(event: TokenRenewed) -> None:
    host = urlsplit(event.token_url).hostname  # not all of it: a path or a query may hold a key
    if event.failure is None:
        _log.debug("oauth2_token_renewed", token_host=host, milliseconds=_milliseconds(event.seconds))
    else:
        _log.warning(
            "oauth2_token_refused",
            token_host=host,
            reason=event.failure.reason.value,
            milliseconds=_milliseconds(event.seconds),
        )


def _line_said(event: LineSaid) -> None:
    _log.info(
        "smtp_transcript",
        host=event.host,
        port=event.port,
        connection=event.connection,
        speaker=event.speaker,
        line=event.line,
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
