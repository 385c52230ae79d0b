"""The part of an apsw cursor that we use, typed: its own stubs leave rows and bindings open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import apsw

Row = tuple[Any, ...]  # SQLite values: their types are those of the schema


class Cursor(Protocol):
    """Runs statements on one connection."""

    def execute(
        self, statements: str, bindings: Sequence[object] | Mapping[str, object] | None = None
    ) -> Cursor: ...

    def executemany(self, statements: str, sequenceofbindings: Iterable[Sequence[object]]) -> Cursor: ...

    def fetchone(self) -> Row | None: ...

    def fetchall(self) -> list[Row]: ...

    def close(self, force: bool = False) -> None: ...

    def __iter__(self) -> Iterator[Row]: ...


def cursor_of(connection: apsw.Connection) -> Cursor:
    """A new cursor."""
    return cast("Cursor", connection.cursor())  # narrower than apsw's: see above
