from __future__ import annotations

import pytest

from smtpconnector_server.failure import Outcome, Reason, Stage
from smtpconnector_server.smtp.refusal import RATE_LIMIT_SECONDS, breakdown, refusal
from smtpconnector_server.smtp.reply import Reply
from smtpconnector_server.smtp.transaction import Broken, Fault

NOT_SENT, REJECTED = Outcome.NOT_SENT, Outcome.REJECTED

ROWS = [
    (Stage.GREETING, "421 4.3.2 busy", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.GREETING, "450 later", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.GREETING, "421 4.7.0 slow down", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.GREETING, "554 5.7.1 blocked", Reason.SMTP_CONNECTION_REJECTED, REJECTED),
    (Stage.EHLO, "421 bye", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.EHLO, "501 5.5.4 bad name", Reason.SMTP_CONNECTION_REJECTED, REJECTED),
    (Stage.STARTTLS, "454 4.7.0 TLS not available", Reason.SMTP_TLS_TEMPORARY, NOT_SENT),
    (Stage.STARTTLS, "421 4.3.0 closing", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.STARTTLS, "502 5.5.1 no", Reason.SMTP_TLS_REQUIRED, NOT_SENT),
    (Stage.AUTH, "535 5.7.8 wrong", Reason.SMTP_AUTH_FAILED, REJECTED),
    (Stage.AUTH, "534 5.7.9 too weak", Reason.SMTP_AUTH_FAILED, REJECTED),
    (Stage.AUTH, "538 5.7.11 encryption required", Reason.SMTP_AUTH_FAILED, REJECTED),
    (Stage.AUTH, "550 5.7.8 wrong", Reason.SMTP_AUTH_FAILED, REJECTED),
    (Stage.AUTH, "504 5.5.4 unknown mechanism", Reason.SMTP_AUTH_UNSUPPORTED, NOT_SENT),
    (Stage.AUTH, "503 5.5.1 bad sequence", Reason.SMTP_PROTOCOL_ERROR, NOT_SENT),
    (Stage.AUTH, "454 4.7.0 temporary failure", Reason.SMTP_AUTH_TEMPORARY, NOT_SENT),
    (Stage.AUTH, "451 4.3.0 try later", Reason.SMTP_AUTH_TEMPORARY, NOT_SENT),
    (Stage.AUTH, "454 4.7.0 Too many login attempts, please try again later.", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.AUTH, "432 4.3.2 Concurrent connections limit exceeded", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.AUTH, "421 4.7.0 too many", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.POOL, "421 4.4.2 idle", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.POOL, "451 4.4.2 Timeout waiting for data from client", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.MAIL, "530 5.7.0 Authentication required", Reason.SMTP_AUTH_REQUIRED, REJECTED),
    (Stage.MAIL, "530 5.7.57 Client not authenticated to send mail", Reason.SMTP_AUTH_REQUIRED, REJECTED),
    (Stage.MAIL, "503 Error: need EHLO and AUTH first !", Reason.SMTP_AUTH_REQUIRED, REJECTED),
    (Stage.MAIL, "553 authentication is required", Reason.SMTP_AUTH_REQUIRED, REJECTED),
    (Stage.MAIL, "550 5.7.1 not yours", Reason.SMTP_SENDER_REJECTED, REJECTED),
    (Stage.MAIL, "553 5.7.1 Sender address rejected: not owned by user", Reason.SMTP_SENDER_REJECTED, REJECTED),
    (Stage.MAIL, "451 4.3.0 later", Reason.SMTP_SENDER_DEFERRED, NOT_SENT),
    (Stage.MAIL, "452 4.3.1 Insufficient system storage", Reason.SMTP_SENDER_DEFERRED, NOT_SENT),
    (Stage.MAIL, "552 too big", Reason.SMTP_MESSAGE_TOO_LARGE, REJECTED),
    (Stage.MAIL, "552 5.3.4 too big", Reason.SMTP_MESSAGE_TOO_LARGE, REJECTED),
    (Stage.MAIL, "421 4.3.2 closing", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.MAIL, "421 Maximum message count per session reached", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.MAIL, "451 4.4.2 Timeout waiting for data from client", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.MAIL, "452 too many messages in this connection", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.MAIL, "503 5.5.1 bad sequence", Reason.SMTP_PROTOCOL_ERROR, NOT_SENT),
    (Stage.MAIL, "421 4.7.0 slow down", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.MAIL, "450 4.7.1 throttled", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.MAIL, "451 4.7.1 throttled", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.MAIL, "432 4.3.2 sender thread limit exceeded", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.MAIL, "454 4.7.0 too many", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.RCPT, "550 no such user", Reason.SMTP_RECIPIENT_REJECTED, REJECTED),
    (Stage.RCPT, "551 not local", Reason.SMTP_RECIPIENT_REJECTED, REJECTED),
    (Stage.RCPT, "553 bad name", Reason.SMTP_RECIPIENT_REJECTED, REJECTED),
    (Stage.RCPT, "550 5.1.1 no such user", Reason.SMTP_RECIPIENT_REJECTED, REJECTED),
    (Stage.RCPT, "554 5.1.2 no such domain", Reason.SMTP_RECIPIENT_REJECTED, REJECTED),
    (Stage.RCPT, "550 5.4.1 Recipient address rejected", Reason.SMTP_RECIPIENT_REJECTED, REJECTED),
    (Stage.RCPT, "552 mailbox full", Reason.SMTP_MAILBOX_UNAVAILABLE, REJECTED),
    (Stage.RCPT, "550 5.2.1 disabled", Reason.SMTP_MAILBOX_UNAVAILABLE, REJECTED),
    (Stage.RCPT, "552 5.2.2 full", Reason.SMTP_MAILBOX_UNAVAILABLE, REJECTED),
    (Stage.RCPT, "550 5.7.1 policy", Reason.SMTP_POLICY_REJECTED, REJECTED),
    (Stage.RCPT, "554 5.7.1 Relay access denied", Reason.SMTP_POLICY_REJECTED, REJECTED),
    (Stage.RCPT, "554 no", Reason.SMTP_POLICY_REJECTED, REJECTED),
    (Stage.RCPT, "550 5.1.8 Sender address rejected: Domain not found", Reason.SMTP_SENDER_REJECTED, REJECTED),
    (Stage.RCPT, "450 4.1.8 Sender address rejected: Domain not found", Reason.SMTP_SENDER_DEFERRED, NOT_SENT),
    (Stage.RCPT, "530 5.7.0 Authentication required", Reason.SMTP_AUTH_REQUIRED, REJECTED),
    (Stage.RCPT, "503 5.5.1 bad sequence", Reason.SMTP_PROTOCOL_ERROR, NOT_SENT),
    (Stage.RCPT, "450 4.2.1 busy", Reason.SMTP_RECIPIENT_DEFERRED, NOT_SENT),
    (Stage.RCPT, "454 4.7.1 Relay access denied", Reason.SMTP_RECIPIENT_DEFERRED, NOT_SENT),
    (Stage.RCPT, "452 4.2.2 full", Reason.SMTP_RECIPIENT_DEFERRED, NOT_SENT),
    (Stage.RCPT, "452 4.5.3 too many recipients", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.RCPT, "421 4.3.2 closing", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.DATA, "451 4.3.0 later", Reason.SMTP_MESSAGE_DEFERRED, NOT_SENT),
    (Stage.DATA, "454 Throttling failure: Daily message quota exceeded.", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.DATA, "554 5.5.1 no valid recipients", Reason.SMTP_MESSAGE_REJECTED, REJECTED),
    (Stage.DATA, "503 5.5.1 bad sequence", Reason.SMTP_PROTOCOL_ERROR, NOT_SENT),
    (Stage.DATA, "421 4.3.2 closing", Reason.SMTP_SERVICE_UNAVAILABLE, NOT_SENT),
    (Stage.MESSAGE, "451 4.3.0 later", Reason.SMTP_MESSAGE_DEFERRED, NOT_SENT),
    (Stage.MESSAGE, "454 Temporary service failure", Reason.SMTP_MESSAGE_DEFERRED, NOT_SENT),
    (Stage.MESSAGE, "454 Throttling failure: Maximum sending rate exceeded.", Reason.SMTP_RATE_LIMITED, NOT_SENT),
    (Stage.MESSAGE, "421 4.3.2 closing", Reason.SMTP_MESSAGE_DEFERRED, NOT_SENT),
    (Stage.MESSAGE, "452 4.3.1 full", Reason.SMTP_MESSAGE_DEFERRED, NOT_SENT),
    (Stage.MESSAGE, "550 5.7.1 spam", Reason.SMTP_MESSAGE_REJECTED, REJECTED),
    (Stage.MESSAGE, "554 5.6.0 no", Reason.SMTP_MESSAGE_REJECTED, REJECTED),
    (
        Stage.MESSAGE,
        "552 5.7.0 This message was blocked because of its content",
        Reason.SMTP_MESSAGE_REJECTED,
        REJECTED,
    ),
    (Stage.MESSAGE, "552 5.2.2 over quota", Reason.SMTP_MESSAGE_REJECTED, REJECTED),
    (Stage.MESSAGE, "552 5.2.3 too big", Reason.SMTP_MESSAGE_TOO_LARGE, REJECTED),
    (Stage.MESSAGE, "552 too big", Reason.SMTP_MESSAGE_TOO_LARGE, REJECTED),
    (Stage.MESSAGE, "451 4.7.0 throttled", Reason.SMTP_RATE_LIMITED, NOT_SENT),
]


def reply_of(line: str) -> Reply:
    return Reply.from_lines(int(line[:3]), [line[4:].encode()])


@pytest.mark.parametrize(("stage", "line", "reason", "outcome"), ROWS)
def test_means_what_the_table_says(stage: Stage, line: str, reason: Reason, outcome: Outcome) -> None:
    failure = refusal(stage, reply_of(line), host="mail.example")
    assert (failure.reason, failure.outcome, failure.stage) == (reason, outcome, stage)
    assert failure.host == "mail.example"
    assert failure.reply == reply_of(line)
    assert line[:3] in failure.message


def test_names_the_field_of_a_refused_recipient() -> None:
    assert [violation.field for violation in refusal(Stage.RCPT, reply_of("550 no"), host="h").violations] == ["to"]
    assert not refusal(Stage.RCPT, reply_of("550 5.7.1 no"), host="h").violations


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("451 4.7.1 throttled", RATE_LIMIT_SECONDS),
        ("451 4.7.1 Greylisted, please try again in 300 seconds", 300.0),
        ("450 4.2.0 Greylisted for 5 minutes", 300.0),
        ("450 4.2.0 Retry after 30s", 30.0),
        ("450 4.2.0 later", None),
        ("450 4.2.0 queue 4711 is full", None),
        ("550 5.7.1 try again in 300 seconds", None),
    ],
)
def test_tells_when_to_try_again_where_it_is_known(line: str, seconds: float | None) -> None:
    assert refusal(Stage.RCPT, reply_of(line), host="h").retry_after == seconds


@pytest.mark.parametrize(
    ("fault", "committed", "reason", "outcome"),
    [
        (Fault.IRREGULAR, False, Reason.SMTP_PROTOCOL_ERROR, NOT_SENT),
        (Fault.LOST, False, Reason.SMTP_CONNECTION_LOST, NOT_SENT),
        (Fault.SILENT, False, Reason.SMTP_CONNECTION_LOST, NOT_SENT),
        (Fault.IRREGULAR, True, Reason.DELIVERY_UNCERTAIN, Outcome.UNKNOWN),
        (Fault.LOST, True, Reason.DELIVERY_UNCERTAIN, Outcome.UNKNOWN),
        (Fault.SILENT, True, Reason.DELIVERY_UNCERTAIN, Outcome.UNKNOWN),
    ],
)
def test_a_broken_transaction_is_unknown_exactly_when_the_message_had_left(
    fault: Fault,
    committed: bool,
    reason: Reason,
    outcome: Outcome,
) -> None:
    broken = Broken(fault, Stage.MESSAGE, "closed the connection", is_committed=committed, blames_level=False)
    failure = breakdown(broken, host="mail.example")
    assert (failure.reason, failure.outcome, failure.stage) == (reason, outcome, Stage.MESSAGE)
    assert failure.message.startswith("mail.example closed the connection")
