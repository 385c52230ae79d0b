"""The commands: clients of the public API."""
