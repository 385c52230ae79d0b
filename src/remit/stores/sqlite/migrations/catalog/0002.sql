-- What a resource stands under, what it is found by, what lists select by.
ALTER TABLE resources ADD COLUMN parent_id TEXT;
ALTER TABLE resources ADD COLUMN unique_key TEXT;
ALTER TABLE resources ADD COLUMN labels TEXT NOT NULL DEFAULT '{}'; -- a JSON object of texts

CREATE INDEX resources_by_parent ON resources (workspace_id, kind, parent_id, created_at_us, id)
    WHERE is_current = 1 AND parent_id IS NOT NULL;
CREATE UNIQUE INDEX resources_by_key ON resources (workspace_id, kind, ifnull(parent_id, ''), unique_key)
    WHERE is_current = 1 AND archived_at_us IS NULL AND unique_key IS NOT NULL;

-- When the owner said last that it needs the blob.
ALTER TABLE blob_references ADD COLUMN said_at_us INTEGER NOT NULL DEFAULT 0;
