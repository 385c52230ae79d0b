-- Texts that Remit makes or looks for are compared byte by byte (COLLATE "C"), as its other stores do. Texts of people
-- that nothing is looked for by are bytes: PostgreSQL's own text cannot hold every character.
CREATE TABLE streams (
    stream_id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    parent_stream_id TEXT COLLATE "C",
    refers_to TEXT COLLATE "C" NOT NULL, -- ids of what it was made with, each between spaces, for lists to select by
    head_seq BIGINT NOT NULL,
    created_seq BIGINT NOT NULL, -- last seq of the first append
    revision BIGINT NOT NULL, -- one more with every append: accounts may change where the head does not
    epoch BIGINT NOT NULL,
    owner TEXT COLLATE "C",
    near TEXT COLLATE "C", -- who keeps something for it, and so gets it before others
    lease_until_us BIGINT NOT NULL,
    wake_at_us BIGINT,
    created_at_us BIGINT NOT NULL,
    deleted_at_us BIGINT, -- the row stays: the id is never used again, and its accounts are still owed
    status TEXT COLLATE "C" NOT NULL,
    title BYTEA,
    agent_id TEXT COLLATE "C",
    agent_version BIGINT,
    archived_at_us BIGINT
) WITH (fillfactor = 70); -- room on the page for the next version of a row: no index changes with an append

CREATE INDEX streams_listed ON streams (workspace_id, kind, created_at_us, stream_id) WHERE deleted_at_us IS NULL;
CREATE INDEX streams_by_parent ON streams (parent_stream_id, created_at_us, stream_id)
    WHERE parent_stream_id IS NOT NULL AND deleted_at_us IS NULL;
CREATE INDEX streams_waking ON streams (wake_at_us, stream_id)
    WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL;
CREATE INDEX streams_waking_by_workspace ON streams (workspace_id, wake_at_us, stream_id)
    WHERE wake_at_us IS NOT NULL AND owner IS NULL AND deleted_at_us IS NULL;
CREATE INDEX streams_leased ON streams (lease_until_us, stream_id)
    WHERE owner IS NOT NULL AND deleted_at_us IS NULL;

CREATE TABLE events (
    stream_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    workspace_id TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    thread_id TEXT COLLATE "C",
    type TEXT COLLATE "C" NOT NULL,
    visibility TEXT COLLATE "C" NOT NULL,
    schema_version BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (stream_id, seq)
);

-- Finds an event by its id, and keeps ids of public rows unique: private rows differ by their seq.
CREATE UNIQUE INDEX events_by_id
    ON events (event_id, stream_id, (CASE visibility WHEN 'public' THEN 0 ELSE seq END));

CREATE TABLE event_keys (
    stream_id TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    workspace_id TEXT COLLATE "C" NOT NULL,
    first_seq BIGINT NOT NULL, -- first and last row of the append that brought the key
    last_seq BIGINT NOT NULL,
    PRIMARY KEY (stream_id, key)
);

CREATE TABLE accounts (
    stream_id TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    workspace_id TEXT COLLATE "C" NOT NULL,
    cap BIGINT,
    spent BIGINT NOT NULL,
    held BIGINT NOT NULL,
    granted BIGINT NOT NULL,
    is_stopped BOOLEAN NOT NULL,
    PRIMARY KEY (stream_id, purpose, unit)
) WITH (fillfactor = 70);

CREATE TABLE holds (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of creation
    stream_id TEXT COLLATE "C" NOT NULL,
    hold_id TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    workspace_id TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    settled BIGINT,
    is_overrun BOOLEAN NOT NULL,
    seq BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    settled_at_us BIGINT,
    UNIQUE (stream_id, hold_id, unit)
) WITH (fillfactor = 80);

CREATE INDEX holds_open ON holds (stream_id, position) WHERE state = 'open';

CREATE TABLE grants (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_id TEXT COLLATE "C" NOT NULL,
    grant_id TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    direction TEXT COLLATE "C" NOT NULL,
    workspace_id TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    spent BIGINT,
    child_stream_id TEXT COLLATE "C",
    UNIQUE (stream_id, grant_id, unit, purpose, direction)
);

CREATE TABLE outbox (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL,
    target_stream_id TEXT COLLATE "C" NOT NULL,
    event BYTEA NOT NULL -- a NewEvent as MessagePack
);

CREATE TABLE checkpoints (
    stream_id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    version BIGINT NOT NULL,
    body BYTEA NOT NULL
);

-- The writers of every process: which of its batches a lane wrote last, so that one whose connection broke can ask.
CREATE TABLE lanes (
    lane_id TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL,
    changed TEXT[] COLLATE "C" NOT NULL, -- the streams that it changed
    at_us BIGINT NOT NULL
);

-- One row per version; `is_current` marks the one that lists show.
CREATE TABLE resources (
    workspace_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    is_current BOOLEAN NOT NULL,
    name BYTEA,
    body BYTEA NOT NULL,
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    archived_at_us BIGINT,
    parent_id TEXT COLLATE "C",
    unique_key TEXT COLLATE "C",
    labels JSONB NOT NULL,
    PRIMARY KEY (workspace_id, kind, id, version)
);

CREATE INDEX resources_listed ON resources (workspace_id, kind, created_at_us, id) WHERE is_current;
CREATE INDEX resources_everywhere ON resources (kind, created_at_us, id) WHERE is_current;
CREATE INDEX resources_by_parent ON resources (workspace_id, kind, parent_id, created_at_us, id)
    WHERE is_current AND parent_id IS NOT NULL;
CREATE UNIQUE INDEX resources_by_key ON resources (workspace_id, kind, (coalesce(parent_id, '')), unique_key)
    WHERE is_current AND archived_at_us IS NULL AND unique_key IS NOT NULL;

CREATE TABLE keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    workspace_id TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL UNIQUE,
    kind TEXT COLLATE "C" NOT NULL,
    name BYTEA NOT NULL,
    scopes BYTEA NOT NULL, -- a JSON array
    created_at_us BIGINT NOT NULL,
    expires_at_us BIGINT,
    revoked_at_us BIGINT
);

CREATE INDEX keys_by_workspace ON keys (workspace_id, created_at_us, id);

CREATE TABLE blob_references (
    workspace_id TEXT COLLATE "C" NOT NULL,
    owner_id TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    said_at_us BIGINT NOT NULL, -- when the owner said last that it needs the blob
    PRIMARY KEY (workspace_id, owner_id, digest)
);

CREATE INDEX blob_references_by_digest ON blob_references (digest, workspace_id);
