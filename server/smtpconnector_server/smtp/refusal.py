"""What a refusal, or a broken connection, means: from the stage and the reply to the failure, row by row.

Enhanced codes (RFC 3463) beat basic ones, which servers use loosely; a text decides only where no code exists for what
has to be told apart. 4yz is NOT_SENT and 5yz REJECTED, except that a 503 speaks of the dialogue and not of the mail.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from smtpconnector_server.failure import Failure, Outcome, Reason, Stage, Violation
from smtpconnector_server.smtp.transaction import Broken, Fault

if TYPE_CHECKING:
    from smtpconnector_server.smtp.reply import Reply

RATE_LIMIT_SECONDS: Final = 60.0
"""When to try again after throttling, unless the server says it: providers count by the minute."""

_CLOSING: Final = 421
_BAD_SEQUENCE: Final = 503
_FIRST_SOMETHING_ELSE: Final = 530
_TIMED_OUT: Final = "4.4.2"
_BAD_SENDER: Final = frozenset({"4.1.7", "4.1.8", "5.1.7", "5.1.8"})
"""Servers that check the sender late say so in reply to RCPT."""
_NOT_THE_SIZE: Final = frozenset({"5.2.1", "5.2.2"})
_NO_SUCH_MAILBOX: Final = frozenset({550, 551, 553})
_MECHANISM_UNKNOWN: Final = frozenset({500, 502, 504})
_NOT_ABOUT_THE_MAIL: Final = frozenset(
    {Reason.SMTP_PROTOCOL_ERROR, Reason.SMTP_TLS_REQUIRED, Reason.SMTP_AUTH_UNSUPPORTED}
)

_TOO_MANY: Final = re.compile(r"too many|throttl|rate limit|limit exceeded", re.IGNORECASE)
_SESSION_IS_FULL: Final = re.compile(r"\b(?:messages?|mails?)\b.{0,40}\b(?:session|connection)\b", re.IGNORECASE)
_AUTH_FIRST: Final = re.compile(
    r"\bauth(?:entication)?\b.{0,20}\b(?:required|first)\b|not authenticated", re.IGNORECASE
)
_DELAY: Final = re.compile(
    r"\b(?:again|retry|wait|in|for|after)\b\D{0,12}\b(\d{1,4}) ?(s|sec|second|m|min|minute)s?\b", re.IGNORECASE
)

_SENTENCES: Final = {
    Reason.SMTP_SERVICE_UNAVAILABLE: "{host} is not available at the moment ({codes}). Try again later.",
    Reason.SMTP_CONNECTION_REJECTED: "{host} refuses connections from this machine ({codes}). Ask its operator, and"
    " check the EHLO name (client_hostname).",
    Reason.SMTP_RATE_LIMITED: "{host} limits the rate of mails or log-ins ({codes}). Send more slowly, or ask for a"
    " higher limit.",
    Reason.SMTP_TLS_TEMPORARY: "{host} cannot start TLS at the moment ({codes}). Try again later.",
    Reason.SMTP_TLS_REQUIRED: "{host} asks for TLS that was not started, or does not start it ({codes}). Do not"
    " switch TLS off, or use the port for implicit TLS.",
    Reason.SMTP_AUTH_FAILED: "{host} refused the credentials ({codes}). Check the user name and the password or token;"
    " some providers want an app password.",
    Reason.SMTP_AUTH_TEMPORARY: "{host} could not check the credentials at the moment ({codes}). Try again later.",
    Reason.SMTP_AUTH_UNSUPPORTED: "{host} did not accept the AUTH mechanism ({codes}). Choose another one.",
    Reason.SMTP_AUTH_REQUIRED: "{host} wants authentication first ({codes}). Configure a user name and a password.",
    Reason.SMTP_SENDER_REJECTED: "{host} refused the sender ({codes}). Use an address that this account may send from.",
    Reason.SMTP_SENDER_DEFERRED: "{host} does not take the sender at the moment ({codes}). Try again later.",
    Reason.SMTP_MESSAGE_TOO_LARGE: "The message is larger than {host} accepts ({codes}).",
    Reason.SMTP_RECIPIENT_REJECTED: "{host} refused the recipient: there is no such mailbox ({codes}).",
    Reason.SMTP_MAILBOX_UNAVAILABLE: "The recipient's mailbox is full or disabled ({codes}).",
    Reason.SMTP_POLICY_REJECTED: "{host} may not or will not deliver to this recipient ({codes}).",
    Reason.SMTP_RECIPIENT_DEFERRED: "{host} does not take the recipient at the moment ({codes}). Try again later.",
    Reason.SMTP_MESSAGE_REJECTED: "{host} refused the message ({codes}).",
    Reason.SMTP_MESSAGE_DEFERRED: "{host} does not take the message at the moment ({codes}). Try again later.",
    Reason.SMTP_PROTOCOL_ERROR: "{host} lost its place in the dialogue ({codes}). Try again; if it happens often, tell"
    " its operator.",
}


def refusal(stage: Stage, reply: Reply, *, host: str) -> Failure:
    """Return the failure that a negative reply (4yz or 5yz) at a stage means.

    Args:
        stage: What the reply is the reply to.
        reply: The reply, redacted.
        host: The server.
    """
    reason = _reason(stage, reply)
    violations: tuple[Violation, ...] = ()
    if reason is Reason.SMTP_RECIPIENT_REJECTED:
        violations = (Violation("to", "The SMTP server says that there is no such mailbox."),)
    return Failure(
        reason,
        _SENTENCES[reason].format(host=host, codes=reply.codes),
        stage=stage,
        outcome=Outcome.REJECTED if reply.is_permanent and reason not in _NOT_ABOUT_THE_MAIL else Outcome.NOT_SENT,
        violations=violations,
        reply=reply,
        host=host,
        retry_after=_retry_after(reason, reply),
    )


def breakdown(broken: Broken, *, host: str) -> Failure:
    """Return the failure that a broken transaction means."""
    if broken.is_committed:
        return Failure(
            Reason.DELIVERY_UNCERTAIN,
            f"{host} {broken.detail} after the whole message was sent: it may or may not arrive.",
            stage=broken.stage,
            outcome=Outcome.UNKNOWN,
            host=host,
        )
    if broken.fault is Fault.IRREGULAR:
        return Failure(
            Reason.SMTP_PROTOCOL_ERROR,
            f"{host} {broken.detail}, which breaks the protocol (RFC 5321). Nothing was sent.",
            stage=broken.stage,
            host=host,
        )
    return Failure(
        Reason.SMTP_CONNECTION_LOST,
        f"{host} {broken.detail} before the message was sent. Try again.",
        stage=broken.stage,
        host=host,
    )


def _reason(stage: Stage, reply: Reply) -> Reason:
    if _is_throttled(reply):
        return Reason.SMTP_RATE_LIMITED
    if reply.code == _CLOSING and stage is not Stage.MESSAGE:
        return Reason.SMTP_SERVICE_UNAVAILABLE
    return _BY_STAGE.get(stage, _connection)(reply)


def _connection(reply: Reply) -> Reason:
    return Reason.SMTP_SERVICE_UNAVAILABLE if reply.is_transient else Reason.SMTP_CONNECTION_REJECTED


def _starttls(reply: Reply) -> Reason:
    return Reason.SMTP_TLS_TEMPORARY if reply.is_transient else Reason.SMTP_TLS_REQUIRED


def _auth(reply: Reply) -> Reason:
    if reply.is_transient:
        return Reason.SMTP_AUTH_TEMPORARY
    if reply.code == _BAD_SEQUENCE:
        return Reason.SMTP_PROTOCOL_ERROR
    if reply.code in _MECHANISM_UNKNOWN and not reply.enhanced_code.startswith("5.7."):
        return Reason.SMTP_AUTH_UNSUPPORTED
    return Reason.SMTP_AUTH_FAILED


def _mail(reply: Reply) -> Reason:
    if reply.is_transient:
        # A pooled connection that the server had given up, or will not use for one more message.
        if reply.enhanced_code == _TIMED_OUT or _SESSION_IS_FULL.search(reply.text):
            return Reason.SMTP_SERVICE_UNAVAILABLE
        return Reason.SMTP_SENDER_DEFERRED
    if _wants_tls(reply):
        return Reason.SMTP_TLS_REQUIRED
    if _wants_auth(reply):
        return Reason.SMTP_AUTH_REQUIRED
    if reply.code == _BAD_SEQUENCE:
        return Reason.SMTP_PROTOCOL_ERROR
    return Reason.SMTP_MESSAGE_TOO_LARGE if _is_too_large(reply) else Reason.SMTP_SENDER_REJECTED


def _rcpt(reply: Reply) -> Reason:
    if reply.enhanced_code in _BAD_SENDER:
        return Reason.SMTP_SENDER_DEFERRED if reply.is_transient else Reason.SMTP_SENDER_REJECTED
    if reply.is_transient:
        return Reason.SMTP_RECIPIENT_DEFERRED
    if _wants_auth(reply):
        return Reason.SMTP_AUTH_REQUIRED
    if reply.code == _BAD_SEQUENCE:
        return Reason.SMTP_PROTOCOL_ERROR
    if reply.enhanced_code in {"5.2.3", "5.3.4"}:
        return Reason.SMTP_MESSAGE_TOO_LARGE
    by_subject = {
        "5.1": Reason.SMTP_RECIPIENT_REJECTED,
        "5.2": Reason.SMTP_MAILBOX_UNAVAILABLE,
        "5.7": Reason.SMTP_POLICY_REJECTED,
    }
    by_code = Reason.SMTP_MAILBOX_UNAVAILABLE if reply.code == 552 else Reason.SMTP_POLICY_REJECTED  # noqa: PLR2004
    if reply.code in _NO_SUCH_MAILBOX:
        by_code = Reason.SMTP_RECIPIENT_REJECTED
    return by_subject.get(reply.enhanced_code[:3], by_code)


def _data(reply: Reply) -> Reason:
    return Reason.SMTP_PROTOCOL_ERROR if reply.code == _BAD_SEQUENCE else _message(reply)


def _message(reply: Reply) -> Reason:
    if reply.is_transient:
        return Reason.SMTP_MESSAGE_DEFERRED
    return Reason.SMTP_MESSAGE_TOO_LARGE if _is_too_large(reply) else Reason.SMTP_MESSAGE_REJECTED


_BY_STAGE: Final = {
    Stage.STARTTLS: _starttls,
    Stage.AUTH: _auth,
    Stage.MAIL: _mail,
    Stage.RCPT: _rcpt,
    Stage.DATA: _data,
    Stage.MESSAGE: _message,
}


def _is_throttled(reply: Reply) -> bool:
    is_policy = reply.enhanced_code.startswith("4.7.")
    match reply.code:
        case 432:
            return True
        case 421 | 450 | 451:
            return is_policy
        case 452:
            return reply.enhanced_code == "4.5.3"
        case 454:
            # The text alone tells: 4.7.0 is also the plain temporary failure of AUTH (RFC 4954, section 6) and STARTTLS
            # (RFC 3207), 4.7.1 is Postfix's "Relay access denied", and Amazon SES throttles without an enhanced code.
            return _TOO_MANY.search(reply.text) is not None
        case _:
            return False


def _is_too_large(reply: Reply) -> bool:
    if reply.enhanced_code in {"5.2.3", "5.3.4"}:
        return True
    is_other = reply.enhanced_code in _NOT_THE_SIZE or reply.enhanced_code.startswith("5.7.")
    return reply.code == 552 and not is_other  # noqa: PLR2004 - RFC 1870, section 6


def _wants_tls(reply: Reply) -> bool:
    return reply.code == _FIRST_SOMETHING_ELSE and "STARTTLS" in reply.text.upper()  # RFC 3207, section 4


def _wants_auth(reply: Reply) -> bool:
    # RFC 4954, section 6; others say it with other codes.
    return reply.code == _FIRST_SOMETHING_ELSE or _AUTH_FIRST.search(reply.text) is not None


def _retry_after(reason: Reason, reply: Reply) -> float | None:
    if not reply.is_transient:
        return None
    found = _DELAY.search(reply.text)
    if found:
        return float(found[1]) * (60.0 if found[2].lower().startswith("m") else 1.0)
    return RATE_LIMIT_SECONDS if reason is Reason.SMTP_RATE_LIMITED else None
