-- Who keeps something for the stream, and so gets it before others.
ALTER TABLE streams ADD COLUMN near TEXT;
