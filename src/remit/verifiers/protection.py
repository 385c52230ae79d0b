"""Protection of an input whose files lie in the blob store."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from anyio import to_thread

from remit.interfaces import BlobReader
from remit.values import Tree
from remit.verifiers.protected import Protection, protection_of

TEXT_BYTES_MAX = 256 * 1024
"""A longer Makefile, package.json or script is not followed, which the forecast then says."""


async def protect_input(
    blobs: BlobReader,
    tree: Tree,
    command: str,
    *,
    outcome: str = "",
    opened: Collection[str] | None = None,
    protect: Sequence[str] = (),
    unprotect: Sequence[str] = (),
    work: Sequence[str] = (),
) -> Protection:
    """`protection_of`, fetching only the files that the command leads through. Raises InvalidRequest, BlobMissing."""
    entries = {entry.path: entry for entry in tree.entries}
    texts: dict[str, str | None] = {}
    while True:
        wanted: dict[str, None] = {}

        def read(path: str, wanted: dict[str, None] = wanted) -> str | None:
            if path not in texts:
                wanted[path] = None
            return texts.get(path)

        protection = await to_thread.run_sync(
            functools.partial(
                protection_of,
                tree,
                command,
                outcome=outcome,
                opened=opened,
                read=read,
                protect=protect,
                unprotect=unprotect,
                work=work,
            )
        )
        if not wanted:
            return protection
        for path in wanted:
            digest = entries[path].sha256
            is_read = digest is not None and entries[path].size <= TEXT_BYTES_MAX
            content = await blobs.read(digest) if is_read and digest is not None else None
            texts[path] = None if content is None else content.decode(errors="replace")
