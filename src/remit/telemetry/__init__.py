"""Spans and metrics, read off what happens."""
