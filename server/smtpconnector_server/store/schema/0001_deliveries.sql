-- The first schema. Times are microseconds since the epoch. A message's content and its wrapped key are there exactly as
-- long as something may still be done with it; what names a person is nowhere else.

CREATE TABLE delivery (
    id {text} PRIMARY KEY,
    caller {text} NOT NULL,
    lane {text} NOT NULL,
    profile TEXT,
    usage_type TEXT NOT NULL,
    message_id TEXT NOT NULL,
    mode TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,
    owner {text},
    attempt INTEGER NOT NULL,
    is_committed BOOLEAN NOT NULL,
    may_have_arrived BOOLEAN NOT NULL,
    deferrals INTEGER NOT NULL,
    resends_left INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    lapses_to TEXT NOT NULL,
    request_hash {blob},
    fingerprint {blob},
    supersede_hash {blob},
    last_host TEXT NOT NULL,
    last_reason TEXT NOT NULL,
    last_stage TEXT NOT NULL,
    last_text TEXT NOT NULL,
    last_reply_code INTEGER NOT NULL,
    last_reply_enhanced_code TEXT NOT NULL,
    last_reply_text TEXT NOT NULL,
    last_connections INTEGER NOT NULL,
    history TEXT NOT NULL,
    key_id TEXT,
    wrapped_key {blob},
    content {blob}
);

CREATE UNIQUE INDEX delivery_request ON delivery (request_hash) WHERE request_hash IS NOT NULL;
-- In each of these the second condition is always true. A statement names that of the index which is meant for it, for
-- PostgreSQL takes all of them for empty if they were so when it looked last, and would read the wrong one to its end.
CREATE INDEX delivery_due ON delivery (lane, due_at, expires_at) WHERE state = 'QUEUED' AND lane <> '';
CREATE INDEX delivery_lapse ON delivery (expires_at) WHERE state = 'QUEUED' AND lapses_to <> '';
CREATE INDEX delivery_in_hand ON delivery (owner) WHERE state = 'SENDING' AND owner <> '';
CREATE INDEX delivery_supersede ON delivery (supersede_hash)
    WHERE state IN ('QUEUED', 'SENDING') AND supersede_hash IS NOT NULL;
CREATE INDEX delivery_newer ON delivery (supersede_hash, created_at)
    WHERE supersede_hash IS NOT NULL AND created_at > 0;
CREATE INDEX delivery_held ON delivery (expires_at) WHERE state = 'UNKNOWN' AND wrapped_key IS NOT NULL;
CREATE INDEX delivery_unknown ON delivery (id) WHERE state = 'UNKNOWN';
CREATE INDEX delivery_caller ON delivery (caller, id);
CREATE INDEX delivery_updated ON delivery (updated_at);

-- Who takes part, and until when it is thought alive.
CREATE TABLE server (
    owner {text} PRIMARY KEY,
    alive_until BIGINT NOT NULL,
    lease BIGINT NOT NULL
);

-- By key, when the bucket of each limit is empty again.
CREATE TABLE rate (
    key {blob} PRIMARY KEY,
    marks TEXT NOT NULL,
    empty_at BIGINT NOT NULL
);

CREATE INDEX rate_empty ON rate (empty_at);

-- SMTP servers that are not to be asked for some time.
CREATE TABLE pause (
    key {blob} PRIMARY KEY,
    ends_at BIGINT NOT NULL,
    reason TEXT NOT NULL
);

CREATE TABLE constant (
    name {text} PRIMARY KEY,
    value {blob} NOT NULL
);
