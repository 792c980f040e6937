"""When a call is made again by the client itself, beyond what gRPC repeats.

Invariant: a call that sends is repeated only with a ``request_id``, under which the service sends one mail however
often it is asked; never after DELIVERY_UNCERTAIN, which is what the service knows. And once an attempt has left open
whether the mail is on its way, "not sent" is believed of a later one only if it is said of the mail itself.
"""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING

from smtpconnector.errors import Cancelled, DeliveryPending, Outcome, SmtpConnectorError, Unavailable

if TYPE_CHECKING:
    from typing import NoReturn

_MAX_ATTEMPTS = 8
_FIRST_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 2.0
# Less is not worth another attempt: it would end with the deadline and hide the error that says more.
_LEAST_SECONDS = 0.5

# Whatever else the service says was decided before it looked for the mail.
_OF_THE_MAIL = frozenset({"REQUEST_ID_CONFLICT", "EGRESS_DENIED", "DEADLINE_EXCEEDED"})
_OF_THE_MAIL_PREFIXES = ("SMTP_", "OAUTH2_", "DELIVERY_")


class Attempts:
    """The time of one call of the caller's, and what of it is left for another attempt.

    Args:
        seconds: The time.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = monotonic() + seconds
        self._count = 0

    @property
    def seconds_left(self) -> float:
        """For the next attempt; more than nothing."""
        return max(self._ends - monotonic(), 0.001)

    def succeeded(self) -> None:
        """Note that one came somewhere, so that they are counted anew."""
        self._count = 0

    def pause(self, at_least: float = 0.0) -> float | None:
        """Return the seconds until the next attempt, at random so that many clients do not come at once.

        Returns:
            None: it is not worth another one.
        """
        longest = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**self._count)
        pause = max(at_least, random.uniform(0, longest))  # noqa: S311 - not a secret
        if self._count + 1 >= _MAX_ATTEMPTS or self.seconds_left < pause + _LEAST_SECONDS:
            return None
        self._count += 1
        return pause


class Sending:
    """The attempts of one call that sends a mail.

    Args:
        seconds: For all of them.
        is_repeatable: Whether the call has a ``request_id``.
    """

    def __init__(self, seconds: float, *, is_repeatable: bool) -> None:
        self.is_repeatable = is_repeatable
        self._attempts = Attempts(seconds)
        self._doubt: DeliveryPending | None = None

    @property
    def seconds_left(self) -> float:
        """For the next attempt."""
        return self._attempts.seconds_left

    def pause_after(self, error: SmtpConnectorError) -> float:
        """Return the seconds until the next attempt.

        Raises:
            SmtpConnectorError: There is none; this is what is true of the mail.
        """
        if not self.is_repeatable:
            raise error
        if isinstance(error, DeliveryPending):
            self._doubt = error
        elif _is_said_of_the_mail(error) or (self._doubt is None and not _is_a_stopped_service(error)):
            raise error
        pause = self._attempts.pause(error.retry_after or 0.0) if error.may_retry else None
        if pause is None:
            self._tell(error)
        return pause

    def _tell(self, error: SmtpConnectorError) -> NoReturn:
        if self._doubt is None or self._doubt is error:
            raise error
        raise self._doubt from error


def pause_of_watch(attempts: Attempts, error: SmtpConnectorError) -> float:
    """Return the seconds until a watch that broke is asked for again.

    Raises:
        SmtpConnectorError: It is not.
    """
    pause = attempts.pause(error.retry_after or 0.0) if isinstance(error, (Unavailable, Cancelled)) else None
    if pause is None:
        raise error
    return pause


def _is_said_of_the_mail(error: SmtpConnectorError) -> bool:
    if error.outcome in {Outcome.REJECTED, Outcome.UNKNOWN}:
        return True
    return error.reason in _OF_THE_MAIL or error.reason.startswith(_OF_THE_MAIL_PREFIXES)


def _is_a_stopped_service(error: SmtpConnectorError) -> bool:
    return isinstance(error, Cancelled) and not error.reason
