"""What must be true of every mail, whatever broke: the promises of docs/guarantee.md as rules over the joined ledgers.

Pure: ledgers in, breaches out. Each rule has a forged ledger in test_verdict.py that breaks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crash.ledger import Answer, Call, History, Mail, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Rule(StrEnum):
    """What was broken."""

    LOST = "accepted, and without an end"
    UNANSWERED = "no definite answer, however often the client asked"
    FALSE_SENT = "said to be sent, and not in the sink"
    FALSE_DENIAL = "said not to be sent, and in the sink"
    DUPLICATE = "more mails than the policy allows"
    ALTERED = "two mails that are not the same octets"
    UNCALLED_RESEND = "sent again although the first was not uncertain"
    CHANGED = "two answers that contradict each other"
    LATE = "left after it had expired"
    RIVAL = "another request under the same id was not refused"
    DEFECT = "an answer that must not occur"
    STRANGER = "in the sink, and nobody asked for it"


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was broken."""

    rule: Rule
    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the campaign knows of its own effects."""

    late_seconds: float = 1.0
    """How much later than it left the sink may have read the last octet of a mail. Infinite where clocks jump."""
    answer_seconds: float = 1.0
    """How long an answer may be on its way to the client."""
    store_fails: bool = False
    """Whether the store was away at times: a mail that the SMTP server accepted then is told as sent, because it is,
    and is UNKNOWN in the store if the server dies before it has the store back (docs/guarantee.md)."""
    linger_seconds: float = 2.0
    """How long a call may live on in the service after its client gave up: more where servers are frozen."""


def judge(histories: Iterable[History], strangers: Iterable[Mail], bounds: Bounds = Bounds()) -> list[Breach]:
    """Return every breach."""
    breaches = [Breach(Rule.STRANGER, mail.key, mail.message_id) for mail in strangers]
    for history in histories:
        breaches += (Breach(rule, history.request.key, text) for rule, text in _broken(history, bounds))
    return breaches


def _broken(history: History, bounds: Bounds) -> Iterator[tuple[Rule, str]]:
    yield from _defects(history)
    if history.request.rivals:
        yield from _rival(history)
        return
    yield from _lost(history)
    yield from _false_sent(history)
    yield from _false_denial(history, bounds)
    yield from _duplicates(history)
    yield from _contradictions(history, bounds)
    yield from _late(history, bounds)


def _defects(history: History) -> Iterator[tuple[Rule, str]]:
    for answer in history.answers.values():
        if answer.word is Word.DEFECT or (answer.word is Word.CONFLICT and not history.request.rivals):
            yield Rule.DEFECT, f"call {answer.number}: {answer.word} {answer.reason}"


def _rival(history: History) -> Iterator[tuple[Rule, str]]:
    if history.mails:
        yield Rule.RIVAL, "it is in the sink"
    for answer in history.answers.values():
        if answer.word not in {Word.CONFLICT, Word.DOOR, Word.PENDING, Word.SILENCE, Word.DEFECT}:
            yield Rule.RIVAL, f"call {answer.number}: {answer.word}"


def _lost(history: History) -> Iterator[tuple[Rule, str]]:
    kept, request = history.kept, history.request
    was_accepted = any(answer.word is Word.ACCEPTED or answer.delivery_id for answer in history.answers.values())
    if kept is None and was_accepted:
        yield Rule.LOST, "it was accepted, and the store does not know it"
    if kept is not None and not kept.is_final:
        yield Rule.LOST, f"it is {kept.word} in the end"
    is_answered = any(answer.word.is_definite or answer.word is Word.ACCEPTED for answer in history.answers.values())
    if request.request_id and not is_answered:
        yield Rule.UNANSWERED, f"{len(history.calls)} calls"


def _false_sent(history: History) -> Iterator[tuple[Rule, str]]:
    for answer in history.answers.values():
        if answer.word is Word.SENT:
            before = [mail for mail in history.mails if mail.received_at <= answer.ended]
            if not before:
                yield Rule.FALSE_SENT, f"call {answer.number}"
            elif answer.message_id and all(mail.message_id != answer.message_id for mail in before):
                yield Rule.FALSE_SENT, f"call {answer.number}: the mail in the sink has another Message-ID"
    if history.kept is not None and history.kept.word is Word.SENT and not history.mails:
        yield Rule.FALSE_SENT, "by the store"


def _false_denial(history: History, bounds: Bounds) -> Iterator[tuple[Rule, str]]:
    if history.kept is not None and history.kept.word.denies and history.mails:
        yield Rule.FALSE_DENIAL, f"the store says {history.kept.word}"
    was_reopened = history.kept is not None and history.kept.was_reopened
    for answer in _in_order(history):
        if answer.word.denies:
            lag = bounds.answer_seconds if was_reopened and answer.word is Word.NOT_SENT else 0.0
            for mail in history.mails:
                if mail.received_at < answer.ended - lag:
                    yield Rule.FALSE_DENIAL, f"call {answer.number}: {answer.word} {answer.reason}, and it had left"
                elif not any(_may_have_sent(history, call, mail, answer, bounds) for call in history.calls):
                    yield Rule.FALSE_DENIAL, f"call {answer.number}: {answer.word} {answer.reason}, and then it left"
    for mail in history.mails:
        if not any(_may_have_sent(history, call, mail, None, bounds) for call in history.calls):
            yield Rule.FALSE_DENIAL, "every call was told that it was not sent"


def _may_have_sent(history: History, call: Call, mail: Mail, denial: Answer | None, bounds: Bounds) -> bool:
    """Whether a call explains a mail, although another call was told (at ``denial``) that it had not left."""
    if call.method != "send" or call.began > mail.received_at:
        return False
    answer = history.answers.get(call.number)
    if answer is None:
        return True
    if answer.word is Word.DOOR or (answer.word.denies and answer.ended <= mail.received_at):
        return False
    if denial is None:
        return True
    lingers = bounds.linger_seconds if answer.word is Word.SILENCE else 0.0
    return answer.ended + lingers > denial.ended


def _duplicates(history: History) -> Iterator[tuple[Rule, str]]:
    mails, request = history.mails, history.request
    allowed = 2 if request.policy == "RESEND" else 1
    if len(mails) > allowed:
        yield Rule.DUPLICATE, f"{len(mails)} mails under {request.policy}"
    if len({(mail.sha256, mail.message_id) for mail in mails}) > 1:
        yield Rule.ALTERED, f"{len(mails)} mails"
    if len(mails) == allowed == 2 and not (history.kept is not None and history.kept.was_uncertain):
        yield Rule.UNCALLED_RESEND, "the store tells of no uncertainty"


def _contradictions(history: History, bounds: Bounds) -> Iterator[tuple[Rule, str]]:
    calls = {call.number: call for call in history.calls}
    answers = [answer for answer in _in_order(history) if answer.word.is_definite or answer.word is Word.ACCEPTED]
    for index, earlier in enumerate(answers):
        for later in answers[index + 1 :]:
            if calls[later.number].began > earlier.ended and not _may_follow(earlier.word, later.word, bounds):
                yield Rule.CHANGED, f"call {earlier.number}: {earlier.word}, call {later.number}: {later.word}"
        kept = history.kept
        if kept is not None and not _may_follow(earlier.word, kept.word, bounds):
            yield Rule.CHANGED, f"call {earlier.number}: {earlier.word}, the store: {kept.word}"
    if history.request.request_id:
        for name in ("message_id", "delivery_id"):
            told = {getattr(item, name) for item in (*answers, *filter(None, [history.kept]))} - {""}
            if len(told) > 1:
                yield Rule.CHANGED, f"{name}: {', '.join(sorted(told))}"


def _may_follow(earlier: Word, later: Word, bounds: Bounds) -> bool:
    """Whether a later word about the same request may differ from an earlier one like this.

    UNKNOWN may turn into what is true, and what was not sent may be tried anew. Whether they say so rightly, the sink
    knows.
    """
    return (
        earlier is later
        or earlier in {Word.ACCEPTED, Word.UNKNOWN, Word.NOT_SENT}
        or (earlier, later) == (Word.EXPIRED, Word.NOT_SENT)  # a repeat came too late for one that was not sent
        or (bounds.store_fails and (earlier, later) == (Word.SENT, Word.UNKNOWN))
    )


def _late(history: History, bounds: Bounds) -> Iterator[tuple[Rule, str]]:
    request = history.request
    for mail in history.mails:
        end = request.expires_at
        if end is None and request.mode == "WAIT":
            sends = [call for call in history.calls if call.method == "send" and call.began <= mail.received_at]
            end = max((call.deadline for call in sends), default=None)
            # A deadline travels as a duration, so that a call counts from when the server reads it.
            end = None if end is None else end + bounds.linger_seconds
        if end is not None and mail.received_at > end + bounds.late_seconds:
            yield Rule.LATE, f"by {mail.received_at - end:.3f} s"


def _in_order(history: History) -> list[Answer]:
    return sorted(history.answers.values(), key=lambda answer: answer.ended)
