"""The pages: clients of the public API."""
