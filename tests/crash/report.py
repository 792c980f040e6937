"""What a campaign shows: a line while it goes on, and a table in the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from crash.ledger import Word

if TYPE_CHECKING:
    from rich.console import Console

    from crash.campaign import Course, Plan

_MOST_SHOWN = 20


def progress(plan: Plan, course: Course) -> str:
    """Return how it goes, in one line."""
    load = course.load
    said = f"{load.calls} calls, {load.under_way} requests under way" if load else ""
    return f"{plan.engine}: {course.phase}, {course.kills} of {plan.kills} kills, {said}"


def show(console: Console, plan: Plan, course: Course) -> None:
    """Show the result, and the history of every mail that was wronged."""
    shown: set[str] = set()
    by_key = {history.request.key: history for history in course.histories}
    for breach in course.breaches:
        console.print(f"[bold red]{breach.rule.name}[/] {breach.rule}: {breach.key}: {breach.text}", highlight=False)
        if breach.key not in shown and breach.key in by_key and len(shown) < _MOST_SHOWN:
            shown.add(breach.key)
            for key in (breach.key, by_key[breach.key].request.rivals):
                if key in by_key:
                    for line in by_key[key].lines():
                        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(_table(plan, course))


def _table(plan: Plan, course: Course) -> Table:
    histories = course.histories
    mails = sum(len(history.mails) for history in histories)
    words = Counter(answer.word for history in histories for answer in history.answers.values())
    ends = Counter(history.kept.word for history in histories if history.kept is not None)
    resent = sum(len(history.mails) > 1 for history in histories)
    unknown = [history for history in histories if history.kept is not None and history.kept.word is Word.UNKNOWN]
    forgotten = [history for history in unknown if any(answer.word is Word.SENT for answer in history.answers.values())]
    starts = sorted(course.starts)
    calls = sum(words.values())
    table = Table(title=f"{plan.engine}, {plan.servers} server{'s' * (plan.servers > 1)}, seed {plan.seed}")
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("time", f"{course.seconds:.0f} s"),
        ("kills (SIGKILL)", course.kills),
        *((f"  {name}", count) for name, count in sorted(course.harms.items())),
        ("starts; median, slowest", f"{len(starts)}; {_at(starts, 0.5):.2f} s, {_at(starts, 1):.2f} s"),
        ("starts that failed, the store being away", course.failed_starts),
        ("requests", len(histories)),
        ("calls", calls),
        *((f"  {word}", words[word]) for word in Word if words[word]),
        ("kept in the store, by their end", sum(ends.values())),
        *((f"  {word}", ends[word]) for word in Word if ends[word]),
        ("UNKNOWN that had arrived", sum(bool(history.mails) for history in unknown)),
        ("UNKNOWN that a caller was told had been sent", len(forgotten)),
        ("mails in the sink", mails),
        ("twice, under RESEND", resent),
        *((f"log: {name}", count) for name, count in course.oddities.items()),
        ("violations", len(course.breaches)),
        ("95 % bound of their rate, by request", f"{3 / max(1, len(histories)):.1e}"),
    ):
        table.add_row(name, str(value))
    return table


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
