"""Texts of a tree's files for pure code that asks for them by path: computed again until it asks for nothing new."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import to_thread

from remit.interfaces import BlobReader
from remit.values import Tree

TEXT_BYTES_MAX = 256 * 1024
"""A longer Makefile, package.json or script is not read."""
Read = Callable[[str], str | None]
T = TypeVar("T")


async def read_through(blobs: BlobReader, tree: Tree, compute: Callable[[Read], T]) -> T:
    """Return what `compute` makes of the texts that it reads, fetching only those. It runs in a thread, several times.
    Raises what it raises, and BlobMissing."""
    entries = {entry.path: entry for entry in tree.entries}
    texts: dict[str, str | None] = {}
    while True:
        wanted: dict[str, None] = {}

        def read(path: str, wanted: dict[str, None] = wanted) -> str | None:
            if path not in texts:
                wanted[path] = None
            return texts.get(path)

        result = await to_thread.run_sync(partial(compute, read))
        if not wanted:
            return result
        for path in wanted:
            entry = entries.get(path)
            is_read = entry is not None and entry.sha256 is not None and entry.size <= TEXT_BYTES_MAX
            content = await blobs.read(entry.sha256) if is_read and entry and entry.sha256 else None
            texts[path] = None if content is None else content.decode(errors="replace")
