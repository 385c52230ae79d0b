"""The record of what was done to the files of a working tree in memory."""

from __future__ import annotations

from collections.abc import Iterable

from remit.values import TreeRecord


class MemoryRecord:
    """The record of programs' doings to the files of the working tree: in memory nothing happens unseen."""

    def __init__(self, laid: Iterable[str]) -> None:
        self._laid = frozenset(laid)
        self._opened: set[str] = set()
        self._changed: set[str] = set()
        self._created: set[str] = set()
        self._created_opened: set[str] = set()
        self.is_over = False

    def opens(self, path: str) -> None:
        if not self.is_over and path.startswith("/workspace/"):
            (self._opened if path in self._laid else self._created_opened).add(path)

    def writes(self, path: str) -> None:
        if not self.is_over and path.startswith("/workspace/"):
            (self._changed if path in self._laid else self._created).add(path)

    def record(self) -> TreeRecord:
        return TreeRecord(
            mechanism="memory",
            is_complete=True,
            opened=_relative(self._opened),
            changed=_relative(self._changed),
            created=_relative(self._created),
            created_opened=_relative(self._created_opened),
        )


def _relative(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(path.removeprefix("/workspace/") for path in paths))
