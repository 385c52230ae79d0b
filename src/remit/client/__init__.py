"""The typed client of the public API, sync and async from one source."""
