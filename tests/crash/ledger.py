"""What the client did, what the SMTP server took and what the store says in the end: the three ledgers of a campaign.

A ledger is a file of JSON lines. An entry is on the disk before what it speaks of can have an effect: a call before it
is made, a mail before the octets that accept it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Word(StrEnum):
    """What a caller was told of a mail, or what the store says of it."""

    ACCEPTED = "ACCEPTED"
    """It is in the queue, or being sent."""
    SENT = "SENT"
    REJECTED = "REJECTED"
    NOT_SENT = "NOT_SENT"
    UNKNOWN = "UNKNOWN"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    PENDING = "PENDING"
    """Somebody else has it in hand: nothing is said of its end."""
    CONFLICT = "CONFLICT"
    """The request id has served for another request."""
    DOOR = "DOOR"
    """The call was refused before anything was done for it; of earlier calls it says nothing."""
    SILENCE = "SILENCE"
    """The connection broke or the deadline passed, with no word of the service."""
    DEFECT = "DEFECT"
    """An answer that must not occur here, such as INTERNAL."""

    @property
    def denies(self) -> bool:
        """Whether it says that the mail has not left."""
        return self in _DENIALS

    @property
    def is_definite(self) -> bool:
        """Whether it says how the mail ended, so that there is nothing to ask again for."""
        return self in _DENIALS | {Word.SENT, Word.UNKNOWN}


_DENIALS = frozenset({Word.REJECTED, Word.NOT_SENT, Word.EXPIRED, Word.CANCELLED, Word.SUPERSEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One mail that a client wants sent, however often it asks for it. Times are seconds since the epoch."""

    key: str
    """The local part of its recipient: by it the ledgers are joined."""
    request_id: str = ""
    mode: str = "WAIT"
    policy: str = "HOLD"
    expires_at: float | None = None
    supersede_key: str = ""
    rivals: str = ""
    """The key of the request whose request id it steals: it must be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is about to be made."""

    key: str
    number: int
    """Its place among all calls of the client."""
    method: str = "send"
    """``send``, ``cancel`` or ``get``."""
    began: float
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a call ended."""

    key: str
    number: int
    """Of the call."""
    ended: float
    word: Word
    reason: str = ""
    message_id: str = ""
    delivery_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail for which the SMTP server took responsibility."""

    key: str
    received_at: float
    """When its last octet was read."""
    sha256: str
    message_id: str
    server: str
    """The client's name in EHLO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the store says of a message in the end."""

    key: str
    word: Word
    is_final: bool
    delivery_id: str
    message_id: str
    history: tuple[str, ...] = ()
    """Each change of state as ``STATE`` or ``STATE REASON``."""

    @property
    def was_uncertain(self) -> bool:
        """Whether a last octet left for which no reply came."""
        return any(change.endswith(" DELIVERY_UNCERTAIN") for change in self.history)

    @property
    def was_reopened(self) -> bool:
        """Whether it was tried anew by a call after another one had been told NOT_SENT."""
        return any(change.startswith("NOT_SENT") for change in self.history[:-1])


@dataclass(slots=True)
class History:
    """All that the ledgers hold of one mail."""

    request: Request
    calls: list[Call] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    """By the number of the call."""
    mails: list[Mail] = field(default_factory=list)
    kept: Kept | None = None

    def lines(self) -> Iterator[str]:
        """Tell it in the order of time."""
        told = [
            (call.began, f"call {call.number} {call.method}, {call.deadline - call.began:.1f} s") for call in self.calls
        ]
        for answer in self.answers.values():
            said = " ".join(filter(None, (answer.word, answer.reason, answer.message_id, answer.delivery_id)))
            told.append((answer.ended, f"answer to {answer.number}: {said}"))
        told += [
            (mail.received_at, f"mail in the sink from {mail.server}: {mail.message_id} {mail.sha256[:12]}")
            for mail in self.mails
        ]
        told.sort()
        start = told[0][0] if told else 0.0
        request = self.request
        due = "never" if request.expires_at is None else f"{request.expires_at - start:+.3f} s"
        yield f"{request.key}: {request.mode} {request.policy} id={request.request_id!r} expires={due}" + (
            f" rivals {request.rivals}" if request.rivals else ""
        )
        yield from (f"  {at - start:+9.3f} s  {what}" for at, what in told)
        yield (
            f"  in the store: {' > '.join(self.kept.history) or self.kept.word} ({self.kept.delivery_id})"
            if (self.kept)
            else "  not in the store"
        )


class Ledger:
    """A file that only grows."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)

    def write(self, *entries: Request | Call | Answer | Mail) -> None:
        """Append entries; when it returns they are on the disk."""
        lines = [json.dumps({"entry": type(entry).__name__, **asdict(entry)}) + "\n" for entry in entries]
        self._file.write("".join(lines).encode())
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def read(file: Path) -> Iterator[Request | Call | Answer | Mail]:
    """Read a ledger. A last line that is torn was never acted upon."""
    kinds = {kind.__name__: kind for kind in (Request, Call, Answer, Mail)}
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            return
        values = json.loads(line)
        kind = kinds[values.pop("entry")]
        if "word" in values:
            values["word"] = Word(values["word"])
        yield kind(**values)


def join(client: Sequence[object], sink: Sequence[object], store: Sequence[Kept]) -> tuple[list[History], list[Mail]]:
    """Join the ledgers by key.

    Returns:
        The history of each request, and the mails that nobody asked for.
    """
    histories = {entry.key: History(entry) for entry in client if isinstance(entry, Request)}
    strangers: defaultdict[str, list[Mail]] = defaultdict(list)
    for entry in client:
        if isinstance(entry, Call):
            histories[entry.key].calls.append(entry)
        elif isinstance(entry, Answer):
            histories[entry.key].answers[entry.number] = entry
    for entry in sink:
        if isinstance(entry, Mail):
            (histories[entry.key].mails if entry.key in histories else strangers[entry.key]).append(entry)
    for kept in store:
        histories[kept.key].kept = kept
    return list(histories.values()), [mail for mails in strangers.values() for mail in mails]
