-- One row per version; `is_current` marks the one that lists show.
CREATE TABLE resources (
    workspace_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    is_current INTEGER NOT NULL,
    name TEXT,
    body BLOB NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    archived_at_us INTEGER,
    PRIMARY KEY (workspace_id, kind, id, version)
) WITHOUT ROWID;

CREATE INDEX resources_listed ON resources (workspace_id, kind, created_at_us, id) WHERE is_current = 1;

CREATE TABLE keys (
    id TEXT PRIMARY KEY NOT NULL,
    workspace_id TEXT NOT NULL,
    sha256 TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL, -- a JSON array
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER,
    revoked_at_us INTEGER
) WITHOUT ROWID;

CREATE INDEX keys_by_workspace ON keys (workspace_id, created_at_us, id);

CREATE TABLE blob_references (
    workspace_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (workspace_id, owner_id, digest)
) WITHOUT ROWID;

CREATE INDEX blob_references_by_digest ON blob_references (digest, workspace_id);
