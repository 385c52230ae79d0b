CREATE TABLE streams (
    stream_id TEXT PRIMARY KEY NOT NULL,
    workspace_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    parent_stream_id TEXT,
    head_seq INTEGER NOT NULL,
    created_seq INTEGER NOT NULL, -- last seq of the first append
    epoch INTEGER NOT NULL,
    owner TEXT,
    lease_until_us INTEGER NOT NULL,
    wake_at_us INTEGER,
    created_at_us INTEGER NOT NULL,
    deleted_at_us INTEGER, -- the row stays: the id is never used again, and its accounts are still owed
    status TEXT NOT NULL,
    title TEXT,
    agent_id TEXT,
    agent_version INTEGER,
    archived_at_us INTEGER
) WITHOUT ROWID;

CREATE INDEX streams_listed ON streams (workspace_id, kind, created_at_us, stream_id)
    WHERE deleted_at_us IS NULL;
CREATE INDEX streams_by_parent ON streams (parent_stream_id, created_at_us, stream_id)
    WHERE parent_stream_id IS NOT NULL AND deleted_at_us IS NULL;
CREATE INDEX streams_waking ON streams (wake_at_us, stream_id)
    WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL;
CREATE INDEX streams_leased ON streams (lease_until_us, stream_id)
    WHERE owner IS NOT NULL AND deleted_at_us IS NULL;

CREATE TABLE events (
    stream_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    workspace_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    thread_id TEXT,
    type TEXT NOT NULL,
    visibility TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (stream_id, seq)
) WITHOUT ROWID;

-- Finds an event by its id, and keeps ids of public rows unique: private rows differ by their seq. Ids come first because
-- they are ordered by time: new entries of all streams share the last pages, and a commit writes few of them.
CREATE UNIQUE INDEX events_by_id
    ON events (event_id, stream_id, (CASE visibility WHEN 'public' THEN 0 ELSE seq END));

CREATE TABLE event_keys (
    stream_id TEXT NOT NULL,
    key TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    first_seq INTEGER NOT NULL, -- first and last row of the append that brought the key
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (stream_id, key)
) WITHOUT ROWID;

CREATE TABLE accounts (
    stream_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    unit TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    cap INTEGER,
    spent INTEGER NOT NULL,
    held INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    is_stopped INTEGER NOT NULL,
    PRIMARY KEY (stream_id, purpose, unit)
) WITHOUT ROWID;

CREATE TABLE holds (
    position INTEGER PRIMARY KEY, -- order of creation
    stream_id TEXT NOT NULL,
    hold_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    amount INTEGER NOT NULL,
    state TEXT NOT NULL,
    settled INTEGER,
    is_overrun INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    settled_at_us INTEGER,
    UNIQUE (stream_id, hold_id, unit)
);

CREATE INDEX holds_open ON holds (stream_id, position) WHERE state = 'open';

CREATE TABLE grants (
    position INTEGER PRIMARY KEY,
    stream_id TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    purpose TEXT NOT NULL,
    direction TEXT NOT NULL,
    workspace_id TEXT NOT NULL,
    amount INTEGER NOT NULL,
    state TEXT NOT NULL,
    spent INTEGER,
    child_stream_id TEXT,
    UNIQUE (stream_id, grant_id, unit, purpose, direction)
);

CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: a late `outbox_done` must not hit a newer item
    workspace_id TEXT NOT NULL,
    target_stream_id TEXT NOT NULL,
    event BLOB NOT NULL -- a NewEvent as MessagePack
);

CREATE TABLE checkpoints (
    stream_id TEXT PRIMARY KEY NOT NULL,
    workspace_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
