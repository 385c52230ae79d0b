"""Search and fetch."""
