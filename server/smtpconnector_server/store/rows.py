"""Values of the store to and from rows of its tables.

Seconds are microseconds there, enums their names, and the history is one text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from smtpconnector_server.store.record import Attempt, Change, Claim, Kept, Sealed
from smtpconnector_server.store.state import Mode, State, UncertainPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from smtpconnector_server.store.record import Draft, Ending, Filter

Value: TypeAlias = str | int | bytes | bool | None
Row: TypeAlias = "Sequence[Any]"  # what a driver makes of a row; the statement says which types

_MICROSECONDS: Final = 1_000_000


def micros(seconds: float) -> int:
    """Return seconds in the store's unit."""
    return round(seconds * _MICROSECONDS)


def seconds(micros: int) -> float:
    """Return the store's unit in seconds."""
    return micros / _MICROSECONDS


def to_kept(row: Row) -> Kept:
    """Read a message as the statements return it."""
    return Kept(
        id=row[0],
        caller=row[1],
        lane=row[2],
        profile=row[3],
        usage_type=row[4],
        message_id=row[5],
        mode=Mode(row[6]),
        policy=UncertainPolicy(row[7]),
        state=State(row[8]),
        is_committed=bool(row[9]),
        attempt=row[10],
        may_have_arrived=bool(row[11]),
        deferrals=row[12],
        resends_left=row[13],
        created_at=seconds(row[14]),
        updated_at=seconds(row[15]),
        due_at=seconds(row[16]),
        expires_at=seconds(row[17]),
        fingerprint=row[18],
        last=Attempt(
            host=row[19],
            reason=row[20],
            stage=row[21],
            text=row[22],
            reply_code=row[23],
            reply_enhanced_code=row[24],
            reply_text=row[25],
            connections=row[26],
        ),
        is_held=bool(row[27]),
        history=_to_history(row[28]),
    )


def to_claim(row: Row) -> Claim:
    """Read a message that was taken up, with its content."""
    return Claim(to_kept(row), Sealed(key_id=row[29], wrapped_key=row[30], content=row[31]))


def _to_history(text: str) -> tuple[Change, ...]:
    """Read ``STATE,MICROSECONDS,REASON;`` for each change."""
    changes = (entry.split(",") for entry in text.split(";")[:-1])
    return tuple(
        Change(cursor, State(state), seconds(int(at)), reason)
        for cursor, (state, at, reason) in enumerate(changes, start=1)
    )


def newest_change(history: str) -> Change:
    """Read the last entry of a history."""
    return _to_history(history)[-1]


def of_draft(draft: Draft, *, owner: str | None) -> Mapping[str, Value]:
    """Return the parameters of a message that is accepted."""
    return {
        "id": draft.id,
        "caller": draft.caller,
        "lane": draft.lane,
        "profile": draft.profile,
        "usage_type": draft.usage_type,
        "message_id": draft.message_id,
        "mode": draft.mode.value,
        "policy": draft.policy.value,
        "state": (State.QUEUED if owner is None else State.SENDING).value,
        "owner": owner,
        "attempt": 0 if owner is None else 1,
        "resends_left": int(draft.policy is UncertainPolicy.RESEND),
        "expires_at": None if draft.expires_at is None else micros(draft.expires_at),
        "expires_in": micros(draft.expires_in),
        "lapses_to": draft.lapses_to.value,
        "request_hash": draft.request_hash,
        "fingerprint": draft.fingerprint,
        "supersede_hash": draft.supersede_hash,
        "key_id": draft.sealed.key_id,
        "wrapped_key": draft.sealed.wrapped_key,
        "content": draft.sealed.content,
    }


def of_ending(claim: Claim, ending: Ending) -> Mapping[str, Value]:
    """Return the parameters of an attempt's end."""
    is_queued = ending.state is State.QUEUED
    last = ending.attempt
    return {
        "id": claim.kept.id,
        "attempt": claim.kept.attempt,
        "state": ending.state.value,
        "delay": micros(ending.delay) if is_queued else 0,
        "is_resend": is_queued and ending.is_resend,
        "deferrals": int(is_queued and ending.counts),
        "host": last.host,
        "reason": last.reason,
        "stage": last.stage,
        "text": last.text,
        "reply_code": last.reply_code,
        "reply_enhanced_code": last.reply_enhanced_code,
        "reply_text": last.reply_text,
        "connections": last.connections,
    }


def of_filter(which: Filter, *, limit: int) -> Mapping[str, Value]:
    """Return the parameters of a list; those that its statement does not ask for are left out."""
    values: dict[str, Value] = {
        "caller": which.caller,
        "profile": which.profile,
        "created_from": None if which.created_from is None else micros(which.created_from),
        "created_before": None if which.created_before is None else micros(which.created_before),
        "before_id": which.before_id,
    }
    return {name: value for name, value in values.items() if value is not None} | {"limit": limit}
