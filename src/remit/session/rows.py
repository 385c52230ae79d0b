"""The rows of a session's stream."""

from __future__ import annotations

from remit.streams.rows import RowTypes

ROWS = RowTypes()
