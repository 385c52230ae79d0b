"""Trees of files as they are kept: blobs like any other."""

from __future__ import annotations

import msgspec

from remit.errors import BlobMissing
from remit.interfaces import BlobReader
from remit.values import Tree


async def read_tree(blobs: BlobReader, digest: str | None) -> Tree:
    """Return the tree with this digest; None is the empty one. Raises BlobMissing, also where something else is kept."""
    if digest is None:
        return Tree(entries=())
    content = await blobs.read(digest)
    try:
        return msgspec.json.decode(content, type=Tree)
    except msgspec.DecodeError as error:
        raise BlobMissing(f"blob {digest!r} is no tree of files: {error}") from error
