"""The rows of a workspace's stream."""

from __future__ import annotations

from remit.streams.rows import PrivateRow, RowTypes


class WorkspaceOpened(PrivateRow, frozen=True, kw_only=True, tag="workspace.opened"):
    """The first row."""


ROWS = RowTypes(WorkspaceOpened)
