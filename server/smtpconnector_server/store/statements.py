"""Every statement of the store, in the SQL that SQLite (from 3.35) and PostgreSQL share.

Parameters are named, ``:name``; what differs is a placeholder of :mod:`~smtpconnector_server.store.dialect`. Whatever
changes a state does all that belongs to it in one UPDATE that is guarded by the state before: the history grows by one
entry, and if nothing can be done with the message any more, its key and content are destroyed.

A message that may have arrived in an earlier attempt never becomes anything that says that it did not: instead of
REJECTED, NOT_SENT, EXPIRED, CANCELLED or SUPERSEDED it is UNKNOWN.
"""

# ruff: noqa: S608 - the pieces are constants of this file; every value is a parameter

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from smtpconnector_server.store.record import Filter

_SUMMARY: Final = """
    id, caller, lane, profile, usage_type, message_id, mode, policy, state, is_committed, attempt, may_have_arrived,
    deferrals, resends_left, created_at, updated_at, due_at, expires_at, fingerprint, last_host, last_reason,
    last_stage, last_text, last_reply_code, last_reply_enhanced_code, last_reply_text, last_connections,
    state = 'UNKNOWN' AND wrapped_key IS NOT NULL"""
_KEPT: Final = f"{_SUMMARY}, history"
"""What :func:`~smtpconnector_server.store.rows.to_kept` reads, in this order."""
_CLAIMED: Final = f"{_KEPT}, key_id, wrapped_key, content"
"""The same for :func:`~smtpconnector_server.store.rows.to_claim`."""

_DESTROYED: Final = "key_id = NULL, wrapped_key = NULL, content = NULL"
_BEFORE: Final = "CASE WHEN last_text = '' THEN '' ELSE ' Before that: ' || last_text END"


def _moved(state: str, reason: str = "''") -> str:
    """Return the assignments of every change of state; both are SQL."""
    return f"state = {state}, updated_at = {{now}}, {_told(state, reason)}"


def _told(state: str, reason: str) -> str:
    return f"history = history || {state} || ',' || {{now}} || ',' || {reason} || ';'"


def _ended(state: str, reason: str, text: str) -> str:
    """Return the assignments that end a message that has not left in its newest attempt; all are SQL."""
    reason = f"CASE WHEN may_have_arrived THEN 'DELIVERY_UNCERTAIN' ELSE {reason} END"
    return f"""
    {_moved(f"CASE WHEN may_have_arrived THEN 'UNKNOWN' ELSE {state} END", reason)},
    owner = NULL, {_DESTROYED}, last_reason = {reason},
    last_text = CASE WHEN may_have_arrived THEN 'An earlier attempt may have arrived; it was not tried again.'
        ELSE {text} END || {_BEFORE}"""


# Accepting

# A deadline that nobody has told as a time of day is reckoned by this clock alone, however wrong a server's own is.
_EXPIRES_AT: Final = "COALESCE(CAST(:expires_at AS BIGINT), {now} + :expires_in)"
INSERT: Final = f"""
INSERT INTO delivery (
    id, caller, lane, profile, usage_type, message_id, mode, policy, state, owner, attempt, is_committed,
    may_have_arrived, deferrals, resends_left, created_at, updated_at, due_at, expires_at, lapses_to, request_hash,
    fingerprint, supersede_hash, last_host, last_reason, last_stage, last_text, last_reply_code,
    last_reply_enhanced_code, last_reply_text, last_connections, history, key_id, wrapped_key, content
) VALUES (
    :id, :caller, :lane, :profile, :usage_type, :message_id, :mode, :policy, :state, :owner, :attempt, FALSE,
    FALSE, 0, :resends_left, {{now}}, {{now}}, {{now}}, {_EXPIRES_AT}, :lapses_to, :request_hash,
    :fingerprint, :supersede_hash, '', '', '', '', 0,
    '', '', 0, CAST(:state AS TEXT) || ',' || {{now}} || ',;', :key_id, :wrapped_key, :content
) ON CONFLICT (request_hash) WHERE request_hash IS NOT NULL DO NOTHING
RETURNING {_KEPT}
"""
REOPEN: Final = f"""
UPDATE delivery SET {_moved("'SENDING'")},
    owner = :owner, attempt = attempt + 1, is_committed = FALSE, deferrals = 0, resends_left = :resends_left,
    due_at = {{now}}, expires_at = {_EXPIRES_AT}, lapses_to = :lapses_to, mode = :mode, policy = :policy,
    supersede_hash = :supersede_hash, last_host = '', last_reason = '', last_stage = '', last_text = '',
    last_reply_code = 0, last_reply_enhanced_code = '', last_reply_text = '', last_connections = 0,
    key_id = :key_id, wrapped_key = :wrapped_key, content = :content
WHERE id = :id AND state = 'NOT_SENT' AND attempt = :attempt
RETURNING {_KEPT}
"""
_SUPERSEDED: Final = _ended("'SUPERSEDED'", "'DELIVERY_SUPERSEDED'", "'A newer message took its place.'")
OVERTAKEN: Final = f"""
UPDATE delivery SET {_SUPERSEDED}
WHERE id = :id AND state = 'NOT_SENT' AND attempt = :attempt AND EXISTS (
    SELECT 1 FROM delivery AS newer
    WHERE newer.supersede_hash = :supersede_hash AND newer.created_at > delivery.created_at
        AND newer.supersede_hash IS NOT NULL AND newer.created_at > 0
)
RETURNING id
"""
SUPERSEDE: Final = f"""
UPDATE delivery SET {_SUPERSEDED}
WHERE supersede_hash = :supersede_hash AND state IN ('QUEUED', 'SENDING') AND NOT is_committed AND id <> :id
RETURNING id
"""

# Sending

_LANES: Final = """
WITH RECURSIVE lanes (lane) AS (
    SELECT (SELECT d.lane FROM delivery AS d WHERE d.state = 'QUEUED' AND d.lane <> '' ORDER BY d.lane LIMIT 1)
    UNION ALL
    SELECT (
        SELECT d.lane FROM delivery AS d WHERE d.state = 'QUEUED' AND d.lane <> '' AND d.lane > lanes.lane
        ORDER BY d.lane LIMIT 1
    ) FROM lanes WHERE lanes.lane IS NOT NULL
), due (lane, due_at) AS (
    SELECT lanes.lane, (
        SELECT d.due_at FROM delivery AS d
        WHERE d.state = 'QUEUED' AND d.lane <> '' AND d.lane = lanes.lane AND d.due_at <= {now} AND d.expires_at > {now}
        ORDER BY d.due_at LIMIT 1
    ) FROM lanes WHERE lanes.lane IS NOT NULL
)
"""  # one look into the index for each lane, however many messages it has
DUE_LANES: Final = f"{_LANES} SELECT lane FROM due WHERE due_at IS NOT NULL ORDER BY due_at LIMIT :limit"
CLAIM: Final = f"""
WITH picked AS MATERIALIZED (
    SELECT id FROM delivery
    WHERE state = 'QUEUED' AND lane <> '' AND lane = :lane AND due_at <= {{now}} AND expires_at > {{now}}
    ORDER BY due_at LIMIT :count {{skip_locked}}
)
UPDATE delivery SET {_moved("'SENDING'")}, owner = :owner, attempt = attempt + 1, is_committed = FALSE
WHERE id IN (SELECT id FROM picked)
RETURNING {_CLAIMED}
"""
# Touches nothing that changes the row's length: SQLite writes only the one page, however long the content.
COMMIT: Final = """
UPDATE delivery SET is_committed = TRUE
WHERE id = :id AND attempt = :attempt AND state = 'SENDING' AND expires_at > {now}
RETURNING expires_at - {now}
"""
_STATE: Final = "CAST(:state AS TEXT)"
_IS_IN_DOUBT: Final = f"may_have_arrived AND {_STATE} IN ('REJECTED', 'NOT_SENT', 'EXPIRED')"
_IS_RESENT: Final = "(:is_resend AND resends_left > 0)"
_OUTCOME: Final = f"""CASE WHEN {_IS_IN_DOUBT} THEN 'UNKNOWN'
        WHEN :is_resend AND resends_left = 0 THEN 'UNKNOWN' ELSE {_STATE} END"""
_FINISH_REASON: Final = f"CASE WHEN {_IS_IN_DOUBT} THEN 'DELIVERY_UNCERTAIN' ELSE CAST(:reason AS TEXT) END"
_KEEPS_CONTENT: Final = f"{_OUTCOME} IN ('QUEUED', 'UNKNOWN')"
FINISH: Final = f"""
UPDATE delivery SET {_moved(_OUTCOME, _FINISH_REASON)},
    owner = NULL, is_committed = is_committed AND {_OUTCOME} <> 'QUEUED', due_at = {{now}} + :delay,
    deferrals = deferrals + :deferrals, may_have_arrived = may_have_arrived OR {_IS_RESENT},
    resends_left = CASE WHEN {_IS_RESENT} THEN resends_left - 1 ELSE resends_left END,
    last_host = :host, last_reason = {_FINISH_REASON}, last_stage = :stage,
    last_text = CASE WHEN {_IS_IN_DOUBT} THEN 'An earlier attempt may have arrived. The newest one ended so. '
        ELSE '' END || CAST(:text AS TEXT),
    last_reply_code = :reply_code, last_reply_enhanced_code = :reply_enhanced_code, last_reply_text = :reply_text,
    last_connections = :connections,
    key_id = CASE WHEN {_KEEPS_CONTENT} THEN key_id END,
    wrapped_key = CASE WHEN {_KEEPS_CONTENT} THEN wrapped_key END,
    content = CASE WHEN {_KEEPS_CONTENT} THEN content END
WHERE id = :id AND attempt = :attempt AND (
    state = 'SENDING'
    OR state = 'UNKNOWN' AND is_committed AND (
        {_STATE} = 'SENT'
        OR {_STATE} = 'REJECTED' AND NOT may_have_arrived
        OR {_STATE} = 'QUEUED' AND wrapped_key IS NOT NULL AND ({_IS_RESENT} OR NOT :is_resend)
    )
)
RETURNING state
"""

# Asking

GET: Final = f"SELECT {_KEPT} FROM delivery WHERE id = :id"
FIND: Final = f"SELECT {_KEPT} FROM delivery WHERE request_hash = :request_hash"


def list_of(which: Filter) -> str:
    """Return the statement for a list; the filter's fields are its parameters, and ``limit``."""
    states = " OR ".join(f"state = '{state}'" for state in which.states)  # not IN: SQLite would not see its index
    conditions = {
        "caller = :caller": which.caller is not None,
        f"({states})": bool(which.states),
        "profile = :profile": which.profile is not None,
        "created_at >= :created_from": which.created_from is not None,
        "created_at < :created_before": which.created_before is not None,
        "id < :before_id": which.before_id is not None,
    }
    where = " AND ".join(condition for condition, is_asked in conditions.items() if is_asked) or "TRUE"
    return f"SELECT {_SUMMARY}, '' FROM delivery WHERE {where} ORDER BY id DESC LIMIT :limit"


DEPTH: Final = f"""
{_LANES}
SELECT (SELECT count(*) FROM delivery WHERE state = 'QUEUED' AND lapses_to <> ''),
    (SELECT count(*) FROM delivery WHERE state = 'SENDING' AND owner <> ''),
    (SELECT count(*) FROM delivery WHERE state = 'UNKNOWN' AND wrapped_key IS NOT NULL),
    (SELECT {{now}} - min(due_at) FROM due)
"""

# Deciding

CANCEL: Final = f"""
UPDATE delivery SET {_ended("'CANCELLED'", "'DELIVERY_CANCELLED'", "'It was cancelled before it was sent.'")}
WHERE id = :id AND state IN ('QUEUED', 'SENDING') AND NOT is_committed
RETURNING {_KEPT}
"""
SEND_AGAIN: Final = f"""
UPDATE delivery SET {_moved("'QUEUED'")}, due_at = {{now}}, deferrals = 0, is_committed = FALSE, may_have_arrived = TRUE
WHERE id = :id AND state = 'UNKNOWN' AND wrapped_key IS NOT NULL AND expires_at > {{now}}
RETURNING {_KEPT}
"""
DROP: Final = f"""
UPDATE delivery SET {_DESTROYED} WHERE id = :id AND state = 'UNKNOWN' AND wrapped_key IS NOT NULL
RETURNING {_KEPT}
"""

# Owners, and what time makes due

BEAT: Final = """
INSERT INTO server (owner, alive_until, lease) VALUES (:owner, {now} + :lease, :lease)
ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until, lease = excluded.lease
"""
LEAVE: Final = "DELETE FROM server WHERE owner = :owner"
# After the clock was set back nobody's lease is longer than it would be from now on.
CLIP_LEASES: Final = "UPDATE server SET alive_until = {now} + lease WHERE alive_until > {now} + lease"
FORGET_SERVERS: Final = "DELETE FROM server WHERE alive_until < {now} - 86400000000"


_LOST: Final = "CASE WHEN is_committed AND resends_left = 0 THEN 'UNKNOWN' ELSE 'QUEUED' END"
# What may have left is told by the reason of its newest change.
TAKE_OVER: Final = f"""
WITH lost AS MATERIALIZED (
    SELECT d.id FROM delivery AS d
    WHERE d.state = 'SENDING' AND d.owner <> ''
        AND NOT EXISTS (SELECT 1 FROM server WHERE server.owner = d.owner AND server.alive_until > {{now}})
    LIMIT :limit {{skip_locked}}
)
UPDATE delivery SET {_moved(_LOST, "CASE WHEN is_committed THEN 'DELIVERY_UNCERTAIN' ELSE '' END")},
    owner = NULL, due_at = {{now}}, is_committed = is_committed AND resends_left = 0,
    may_have_arrived = may_have_arrived OR is_committed AND resends_left > 0,
    resends_left = CASE WHEN is_committed AND resends_left > 0 THEN resends_left - 1 ELSE resends_left END,
    last_reason = CASE WHEN is_committed THEN 'DELIVERY_UNCERTAIN' ELSE last_reason END,
    last_stage = CASE WHEN is_committed THEN 'MESSAGE' ELSE last_stage END,
    last_text = CASE WHEN is_committed
        THEN 'The server that sent it ended before it had the reply to the message. It may or may not arrive.'
        ELSE last_text END,
    last_reply_code = CASE WHEN is_committed THEN 0 ELSE last_reply_code END,
    last_reply_enhanced_code = CASE WHEN is_committed THEN '' ELSE last_reply_enhanced_code END,
    last_reply_text = CASE WHEN is_committed THEN '' ELSE last_reply_text END,
    last_connections = CASE WHEN is_committed THEN 0 ELSE last_connections END
WHERE id IN (SELECT id FROM lost)
RETURNING id, state, history
"""
_LAPSE_REASON: Final = "CASE lapses_to WHEN 'NOT_SENT' THEN 'DEADLINE_EXCEEDED' ELSE 'DELIVERY_EXPIRED' END"
_LAPSE_TEXT: Final = """CASE lapses_to WHEN 'NOT_SENT' THEN 'It was not sent by the deadline of the call.'
        ELSE 'It was not sent by its expire_time.' END"""
LAPSE: Final = f"""
WITH lapsed AS MATERIALIZED (
    SELECT id FROM delivery WHERE state = 'QUEUED' AND lapses_to <> '' AND expires_at <= {{now}}
    ORDER BY expires_at LIMIT :limit {{skip_locked}}
)
UPDATE delivery SET {_ended("lapses_to", _LAPSE_REASON, _LAPSE_TEXT)}
WHERE id IN (SELECT id FROM lapsed)
RETURNING id
"""
LET_GO: Final = f"""
WITH past AS MATERIALIZED (
    SELECT id FROM delivery WHERE state = 'UNKNOWN' AND wrapped_key IS NOT NULL AND expires_at <= {{now}}
    ORDER BY expires_at LIMIT :limit {{skip_locked}}
)
UPDATE delivery SET {_DESTROYED} WHERE id IN (SELECT id FROM past)
"""
# A message that changed in the future was queued before the clock was set back: it would wait for all that time.
RETIME: Final = """
WITH ahead AS MATERIALIZED (
    SELECT id FROM delivery WHERE updated_at > {now} + 1000000 AND state = 'QUEUED' AND due_at > {now}
    ORDER BY updated_at LIMIT :limit {skip_locked}
)
UPDATE delivery SET due_at = {now} WHERE id IN (SELECT id FROM ahead)
"""
PURGE: Final = """
WITH old AS MATERIALIZED (
    SELECT id FROM delivery WHERE updated_at <= {now} - :retention AND wrapped_key IS NULL
    ORDER BY updated_at LIMIT :limit {skip_locked}
)
DELETE FROM delivery WHERE id IN (SELECT id FROM old)
RETURNING id
"""

# What all servers share

MARKS: Final = "SELECT {now}, (SELECT marks FROM rate WHERE key = :key)"
SET_MARKS: Final = """
INSERT INTO rate (key, marks, empty_at) VALUES (:key, :marks, :empty_at)
ON CONFLICT (key) DO UPDATE SET marks = excluded.marks, empty_at = excluded.empty_at WHERE rate.marks = :before
RETURNING marks
"""
FORGET_MARKS: Final = """
DELETE FROM rate WHERE key IN (SELECT key FROM rate WHERE empty_at <= {now} ORDER BY empty_at LIMIT :limit)
"""
PAUSE: Final = """
INSERT INTO pause (key, ends_at, reason) VALUES (:key, {now} + :pause, :reason)
ON CONFLICT (key) DO UPDATE SET ends_at = excluded.ends_at, reason = excluded.reason
"""
GO_ON: Final = "DELETE FROM pause WHERE key = :key"
PAUSES: Final = "SELECT key, ends_at - {now}, reason FROM pause WHERE ends_at > {now}"
FORGET_PAUSES: Final = "DELETE FROM pause WHERE ends_at <= {now}"
KEEP: Final = """
INSERT INTO constant (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE constant.value = CAST(:instead_of AS {blob})
"""
CONSTANT: Final = "SELECT value FROM constant WHERE name = :name"
