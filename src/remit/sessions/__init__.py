"""The rules of sessions: opening, input, changes, outputs, removal. No HTTP, no SQL."""
