"""Protection of an input whose files lie in the blob store."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from remit.interfaces import BlobReader
from remit.values import Tree
from remit.verifiers.protected import Protection, protection_of
from remit.verifiers.texts import Read, read_through


async def protect_input(
    blobs: BlobReader,
    tree: Tree,
    command: str,
    *,
    outcome: str = "",
    opened: Collection[str] | None = None,
    holding_cases: Collection[str] = (),
    protect: Sequence[str] = (),
    unprotect: Sequence[str] = (),
    work: Sequence[str] = (),
) -> Protection:
    """`protection_of`, fetching only the files that the command leads through. Raises InvalidRequest, BlobMissing."""

    def compute(read: Read) -> Protection:
        return protection_of(
            tree,
            command,
            outcome=outcome,
            opened=opened,
            holding_cases=holding_cases,
            read=read,
            protect=protect,
            unprotect=unprotect,
            work=work,
        )

    return await read_through(blobs, tree, compute)
