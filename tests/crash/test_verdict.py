"""Each rule of the verdict, broken by a forged ledger; and ledgers that look bad and are not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from crash.ledger import Answer, Call, History, Kept, Ledger, Mail, Request, Word, join, read
from crash.verdict import Bounds, Rule, judge

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE_ID = "<1@example.com>"


class Forger:
    """Writes the history of one mail, a second after the other."""

    def __init__(self, **request: Any) -> None:
        self.history = History(Request(**{"key": "k", "request_id": "r", **request}))
        self.now = 100.0

    def call(self, word: Word | None = None, *, lasts: float = 0.5, method: str = "send", **answer: Any) -> Forger:
        self.now += 1
        number = len(self.history.calls)
        self.history.calls.append(Call(key="k", number=number, method=method, began=self.now, deadline=self.now + 10))
        if word is not None:
            self.history.answers[number] = Answer(key="k", number=number, ended=self.now + lasts, word=word, **answer)
        return self

    def mail(self, *, after: float = 0.1, sha256: str = "s", message_id: str = MESSAGE_ID) -> Forger:
        """A mail that is in the sink so long after the last call began."""
        at = self.now + after
        self.history.mails.append(
            Mail(key="k", received_at=at, sha256=sha256, message_id=message_id, server="server-0")
        )
        return self

    def kept(self, word: Word, *history: str, is_final: bool = True) -> Forger:
        self.history.kept = Kept(
            key="k", word=word, is_final=is_final, delivery_id="d", message_id=MESSAGE_ID, history=history
        )
        return self

    def broken(self, **bounds: float) -> set[Rule]:
        return {breach.rule for breach in judge([self.history], [], Bounds(**bounds))}


UNCERTAIN = ("QUEUED", "SENDING", "QUEUED DELIVERY_UNCERTAIN", "SENDING", "SENT")

BROKEN = {
    "accepted and unknown to the store": (Rule.LOST, Forger(mode="ENQUEUE").call(Word.ACCEPTED)),
    "accepted and still queued": (
        Rule.LOST,
        Forger(mode="ENQUEUE").call(Word.ACCEPTED).kept(Word.ACCEPTED, is_final=False),
    ),
    "an answer named a delivery that is gone": (Rule.LOST, Forger().call(Word.UNKNOWN, delivery_id="d")),
    "never answered": (Rule.UNANSWERED, Forger().call(Word.SILENCE).call(Word.DOOR).call(Word.PENDING)),
    "OK without a mail": (Rule.FALSE_SENT, Forger(request_id="").call(Word.SENT)),
    "OK before the mail": (Rule.FALSE_SENT, Forger().call(Word.SENT).mail(after=0.6).kept(Word.SENT)),
    "OK for another mail": (Rule.FALSE_SENT, Forger().mail().call(Word.SENT, message_id="<2@example.com>")),
    "SENT in the store without a mail": (Rule.FALSE_SENT, Forger().call(Word.UNKNOWN).kept(Word.SENT)),
    "NOT_SENT after the mail": (Rule.FALSE_DENIAL, Forger(request_id="").call(Word.NOT_SENT).mail()),
    "NOT_SENT before the mail": (Rule.FALSE_DENIAL, Forger(request_id="").call(Word.NOT_SENT).mail(after=3)),
    "REJECTED after the mail": (Rule.FALSE_DENIAL, Forger(request_id="").call(Word.REJECTED).mail()),
    "cancelled, and then it left": (
        Rule.FALSE_DENIAL,
        Forger(mode="ENQUEUE").call(Word.ACCEPTED).call(Word.CANCELLED, method="cancel").mail(after=3),
    ),
    "EXPIRED in the store with a mail": (
        Rule.FALSE_DENIAL,
        Forger(mode="ENQUEUE", policy="RESEND")
        .call(Word.ACCEPTED)
        .mail()
        .kept(Word.EXPIRED, "SENDING", "QUEUED DELIVERY_UNCERTAIN", "EXPIRED"),
    ),
    "NOT_SENT to a repeat, and then the first one's mail": (
        Rule.FALSE_DENIAL,
        Forger().call(Word.SILENCE).call(Word.NOT_SENT, lasts=3).mail(after=5).kept(Word.SENT),
    ),
    "refused at the door, and then it left": (Rule.FALSE_DENIAL, Forger(request_id="").call(Word.DOOR).mail(after=2)),
    "two mails under HOLD": (Rule.DUPLICATE, Forger().call(Word.SENT).mail().mail(after=0.2).kept(Word.SENT)),
    "three mails under RESEND": (
        Rule.DUPLICATE,
        Forger(policy="RESEND").call(Word.SENT).mail().mail().mail().kept(Word.SENT, *UNCERTAIN),
    ),
    "a second mail with other octets": (
        Rule.ALTERED,
        Forger(policy="RESEND").call(Word.SENT).mail().mail(sha256="t").kept(Word.SENT, *UNCERTAIN),
    ),
    "a second mail with another Message-ID": (
        Rule.ALTERED,
        Forger(policy="RESEND").call(Word.SENT).mail().mail(message_id="<2@e>").kept(Word.SENT, *UNCERTAIN),
    ),
    "a second mail for no reason": (
        Rule.UNCALLED_RESEND,
        Forger(policy="RESEND").call(Word.SENT).mail().mail().kept(Word.SENT, "SENDING", "SENT"),
    ),
    "SENT, and to the repeat REJECTED": (Rule.CHANGED, Forger().call(Word.SENT).mail().call(Word.REJECTED)),
    "SENT, and to the repeat UNKNOWN": (Rule.CHANGED, Forger().call(Word.SENT).mail().call(Word.UNKNOWN)),
    "EXPIRED, and tried anew": (Rule.CHANGED, Forger().call(Word.EXPIRED).call(Word.ACCEPTED)),
    "SENT, and in the store UNKNOWN": (Rule.CHANGED, Forger().call(Word.SENT).mail().kept(Word.UNKNOWN)),
    "another Message-ID for the repeat": (
        Rule.CHANGED,
        Forger().call(Word.SENT, message_id=MESSAGE_ID).mail().call(Word.SENT, message_id="<2@example.com>"),
    ),
    "another delivery for the repeat": (
        Rule.CHANGED,
        Forger().call(Word.SENT, delivery_id="d").mail().call(Word.SENT, delivery_id="e").kept(Word.SENT),
    ),
    "a mail after expire_time": (
        Rule.LATE,
        Forger(mode="ENQUEUE", expires_at=102.0).call(Word.ACCEPTED).mail(after=3).kept(Word.SENT),
    ),
    "a mail long after its call's deadline": (
        Rule.LATE,
        Forger().call(Word.SILENCE, lasts=11).mail(after=16).call(Word.SENT, lasts=20).kept(Word.SENT),
    ),
    "a rival that was sent": (Rule.RIVAL, Forger(rivals="j").call(Word.SILENCE).mail()),
    "a rival that was answered OK": (Rule.RIVAL, Forger(rivals="j").call(Word.SENT)),
    "a rival that was queued": (Rule.RIVAL, Forger(rivals="j").call(Word.ACCEPTED)),
    "an internal error": (Rule.DEFECT, Forger().call(Word.DEFECT).call(Word.NOT_SENT)),
    "a conflict with itself": (Rule.DEFECT, Forger().call(Word.CONFLICT).call(Word.NOT_SENT)),
}

FINE = {
    "sent": Forger().call(Word.SENT, message_id=MESSAGE_ID, delivery_id="d").mail().kept(Word.SENT),
    "sent without a store": Forger(request_id="").call(Word.SENT, message_id=MESSAGE_ID).mail(),
    "no word, and sent": Forger(request_id="").call(Word.SILENCE).mail(),
    "no word, and not sent": Forger(request_id="").call(Word.SILENCE),
    "no word, and sent by the repeat": Forger().call(Word.SILENCE).call(Word.SENT).mail().kept(Word.SENT),
    "uncertain, and it arrived": Forger().call(Word.UNKNOWN).mail().kept(Word.UNKNOWN),
    "uncertain, and the reply came late": Forger().call(Word.UNKNOWN).mail().call(Word.SENT).kept(Word.SENT),
    "not sent, and sent by the repeat": Forger().call(Word.NOT_SENT).call(Word.SENT).mail().kept(Word.SENT),
    "not sent, told while another call for it was running": (
        Forger().call(Word.SENT, lasts=5).call(Word.NOT_SENT).mail(after=2).kept(Word.SENT)
    ),
    "not sent, told late, when the next call had sent it": (
        Forger().call(Word.NOT_SENT, lasts=1.3).call(Word.SENT).mail().kept(Word.SENT, "NOT_SENT", "SENDING", "SENT")
    ),
    "refused at the door after it was sent": Forger().call(Word.SILENCE).mail().call(Word.DOOR).call(Word.SENT),
    "queued, sent": Forger(mode="ENQUEUE").call(Word.ACCEPTED).mail(after=4).kept(Word.SENT),
    "queued without an id, and no word": Forger(mode="ENQUEUE", request_id="").call(Word.SILENCE).mail(),
    "queued, expired": Forger(mode="ENQUEUE", expires_at=102.0).call(Word.ACCEPTED).kept(Word.EXPIRED),
    "not sent, and expired when it was repeated": Forger().call(Word.EXPIRED).kept(Word.NOT_SENT),
    "sent at the last moment": (
        Forger(mode="ENQUEUE", expires_at=102.0).call(Word.ACCEPTED).mail(after=1.5).kept(Word.SENT)
    ),
    "resent": Forger(policy="RESEND").call(Word.SENT).mail().mail().kept(Word.SENT, *UNCERTAIN),
    "a rival that was refused": Forger(rivals="j")
    .call(Word.PENDING)
    .call(Word.SILENCE)
    .call(Word.CONFLICT)
    .kept(Word.SENT),
}


@pytest.mark.parametrize(("rule", "forger"), BROKEN.values(), ids=BROKEN)
def test_finds_the_breach(rule: Rule, forger: Forger) -> None:
    assert rule in forger.broken()


@pytest.mark.parametrize("forger", FINE.values(), ids=FINE)
def test_finds_nothing_where_all_is_well(forger: Forger) -> None:
    assert forger.broken() == set()


def test_every_rule_has_a_ledger_that_breaks_it() -> None:
    assert {rule for rule, _ in BROKEN.values()} | {Rule.STRANGER} == set(Rule)


def test_finds_a_mail_that_nobody_asked_for() -> None:
    mail = Mail(key="x", received_at=1.0, sha256="s", message_id=MESSAGE_ID, server="server-0")
    histories, strangers = join([Request(key="k")], [mail], [])
    assert [breach.rule for breach in judge(histories, strangers)] == [Rule.STRANGER]


def test_a_frozen_server_may_take_up_a_call_that_its_client_gave_up() -> None:
    forger = Forger().call(Word.SILENCE).call(Word.NOT_SENT, lasts=3).mail(after=5).kept(Word.SENT)
    assert forger.broken(linger_seconds=30) == set()


def test_what_was_told_while_the_store_was_away_may_be_unknown_to_it() -> None:
    forger = Forger().mail(after=1.1).call(Word.SENT).call(Word.UNKNOWN).kept(Word.UNKNOWN)
    assert forger.broken(store_fails=True) == set()
    assert forger.broken() == {Rule.CHANGED}


def test_a_ledger_reads_back_what_was_written_and_leaves_out_a_torn_line(tmp_path: Path) -> None:
    history = Forger().call(Word.SENT).mail().history
    entries = [history.request, *history.calls, *history.answers.values(), *history.mails]
    file = tmp_path / "ledger"
    with Ledger(file) as ledger:
        ledger.write(*entries[:2])
        ledger.write(*entries[2:])
    with file.open("ab") as torn:
        torn.write(b'{"entry": "Mail", "ke')
    assert list(read(file)) == entries


def test_the_join_brings_each_entry_to_its_request() -> None:
    history = Forger().call(Word.SENT).mail().kept(Word.SENT).history
    other = Request(key="other")
    assert history.kept is not None
    joined, strangers = join(
        [history.request, other, *history.calls, *history.answers.values()], history.mails, [history.kept]
    )
    assert [dataclasses.asdict(item) for item in joined] == [
        dataclasses.asdict(history),
        dataclasses.asdict(History(other)),
    ]
    assert strangers == []


def test_a_history_tells_what_happened_in_order() -> None:
    lines = list(Forger().call(Word.SILENCE).mail().call(Word.SENT).kept(Word.SENT, "SENDING", "SENT").history.lines())
    assert [line.split("  ")[-1].split(" ")[0] for line in lines[1:-1]] == ["call", "mail", "answer", "call", "answer"]
    assert lines[-1] == "  in the store: SENDING > SENT (d)"
