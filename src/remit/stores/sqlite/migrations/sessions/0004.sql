-- Ids of what the stream was made with, each between spaces, for lists to select by.
ALTER TABLE streams ADD COLUMN refers_to TEXT NOT NULL DEFAULT '';
