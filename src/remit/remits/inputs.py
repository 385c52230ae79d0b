"""Inputs: an uploaded tar becomes trees of blobs and one resource, or nothing."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Sequence

import msgspec

from remit.catalog.maintenance import everywhere, maintenance_principal
from remit.catalog.owned_blobs import BlobPuts, OwnedBlobs
from remit.catalog.resources import Resources, Stored
from remit.clock import Clock
from remit.errors import InvalidRequest, TooLarge
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.remits.creation import INPUT, InputBody
from remit.remits.tar_stream import TarMember, TarStream
from remit.schema.remits import RemitInput
from remit.values import Collected, Principal, Tree, TreeEntry

INPUT_BYTES_MAX = 2 << 30
MEMBERS_MAX = 200_000
INPUT_KEPT_SECONDS = 30 * 86_400
"""A remit can be made of an upload for so long."""
WHOLE_BYTES_MAX = 1 << 20
"""Larger files go to the blob store as they arrive; smaller ones in batches."""
BATCH_BYTES = 16 << 20
PATH_BYTES_MAX = 3_072
"""Of a member's path: less than the kernel's 4,096, for it is written below a folder of the server's."""
NAME_BYTES_MAX = 255
TARGET_BYTES_MAX = 4_095
PARTS = ("files", "git")


class Inputs:
    """Stores uploads."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        blobs: OwnedBlobs,
        clock: Clock,
        ids: Ids,
        input_bytes_max: int = INPUT_BYTES_MAX,
        members_max: int = MEMBERS_MAX,
    ) -> None:
        self._inputs = Resources(INPUT, catalog, clock, ids)
        self._blobs = blobs
        self._ids = ids
        self._input_bytes_max = input_bytes_max
        self._members_max = members_max

    async def store(self, principal: Principal, chunks: AsyncIterator[bytes]) -> Stored[InputBody]:
        """Read the tar to its end, then make the resource. Raises InvalidRequest, TooLarge: no resource is left."""
        input_id = self._ids.new(INPUT.id_prefix)
        async with self._blobs.puts(principal, input_id) as puts:
            body = await self._read(chunks, puts)
            await puts.commit()
            return await self._inputs.create(principal, body, id=input_id)

    async def _read(self, chunks: AsyncIterator[bytes], puts: BlobPuts) -> InputBody:
        tar = TarStream(chunks, size_bytes_max=self._input_bytes_max)
        upload = _Upload(puts, self._members_max)
        while (member := await tar.next_member()) is not None:
            await upload.add(member, tar)
        await tar.drain()
        await upload.flush()
        trees = {part: upload.tree(part) for part in PARTS}
        if not trees["git"].entries:
            del trees["git"]
        digests = {part: await puts.put(tree.encode()) for part, tree in trees.items()}
        files = [entry for entry in trees["files"].entries if entry.kind != "dir"]
        return InputBody(
            size_bytes=sum(entry.size for entry in files),
            files=len(files),
            has_history="git" in digests,
            tree_digest=digests["files"],
            history_digest=digests.get("git"),
        )


class OldInputs:
    """Removes uploads after a month. Remits have references of their own to what they were given."""

    def __init__(self, catalog: Catalog, blobs: OwnedBlobs, clock: Clock) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._clock = clock

    async def collect(self) -> Sequence[Collected]:
        """See `interfaces.Collector`."""
        before_us = self._clock.now_us() - INPUT_KEPT_SECONDS * 1_000_000
        count = size_bytes = 0
        async for stored in everywhere(self._catalog, INPUT):
            if stored.row.created_at_us >= before_us:
                break
            principal = maintenance_principal(stored.row.workspace_id)
            await self._catalog.delete(principal, INPUT.name, stored.id)
            await self._blobs.forget(principal, stored.id)
            count += 1
            size_bytes += stored.config.size_bytes
        return (Collected(what="old uploads for remits", count=count, size_bytes=size_bytes),)


def input_to_wire(stored: Stored[InputBody]) -> RemitInput:
    """The answer of an upload."""
    body = stored.config
    return {
        "id": stored.id,
        "type": "remit_input",
        "size_bytes": body.size_bytes,
        "files": body.files,
        "has_history": body.has_history,
        "tree_digest": body.tree_digest,
        "created_at": stored.stamps()["created_at"],
    }


class _Upload:
    """The trees of one upload while they grow."""

    def __init__(self, puts: BlobPuts, members_max: int) -> None:
        self._puts = puts
        self._members_max = members_max
        self._members = 0
        self._entries: dict[str, dict[str, TreeEntry]] = {part: {} for part in PARTS}
        self._batch: list[tuple[str, TreeEntry, bytes]] = []
        self._batch_bytes = 0

    async def add(self, member: TarMember, tar: TarStream) -> None:
        self._members += 1
        if self._members > self._members_max:
            raise TooLarge(f"The tar has more than {self._members_max} members; send less.")
        part, path = split_path(member.path)
        if not path:
            if member.kind != "dir":
                raise InvalidRequest(f"The tar's member {member.path!r} must be a folder.")
            return
        entries = self._entries[part]
        known = entries.get(path)
        if known is not None:
            if known.kind == member.kind == "dir":
                return
            raise InvalidRequest(f"The tar has {member.path!r} twice; send every path once.")
        entry = TreeEntry(path=path, kind="dir", mode=member.mode, mtime_ns=member.mtime_ns)
        match member.kind:
            case "dir":
                entries[path] = entry
            case "symlink":
                target = member.target or ""
                check_target(member.path, path, target)
                entries[path] = msgspec.structs.replace(entry, kind="symlink", mode=0o777, target=target)
            case _:
                file = msgspec.structs.replace(entry, kind="file", size=member.size)
                entries[path] = file
                await self._add_file(part, file, tar)

    async def _add_file(self, part: str, file: TreeEntry, tar: TarStream) -> None:
        if file.size > WHOLE_BYTES_MAX:
            digest = await self._puts.put(tar.content())
            self._entries[part][file.path] = msgspec.structs.replace(file, sha256=digest)
            return
        content = b"".join([piece async for piece in tar.content()])
        self._batch.append((part, file, content))
        self._batch_bytes += len(content)
        if self._batch_bytes >= BATCH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        if not self._batch:
            return
        digests = await self._puts.put_many([content for _, _, content in self._batch])
        for (part, file, _), digest in zip(self._batch, digests, strict=True):
            self._entries[part][file.path] = msgspec.structs.replace(file, sha256=digest)
        self._batch = []
        self._batch_bytes = 0

    def tree(self, part: str) -> Tree:
        """The finished tree; folders that only their files name are added. Raises InvalidRequest when something lies
        under a file or a symlink."""
        entries = dict(self._entries[part])
        for path in self._entries[part]:
            folder = posixpath.dirname(path)
            while folder:
                above = entries.setdefault(folder, TreeEntry(path=folder, kind="dir", mode=0o755))
                if above.kind != "dir":
                    raise InvalidRequest(
                        f"The tar has {part + '/' + path!r} below {part + '/' + folder!r}, which is a {above.kind}."
                    )
                folder = posixpath.dirname(folder)
        return Tree(entries=tuple(entries[path] for path in sorted(entries)))


def split_path(name: str) -> tuple[str, str]:
    """The part and the path within it (empty for the part itself). Raises InvalidRequest."""
    path = name.removeprefix("./").rstrip("/")
    parts = path.split("/")
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"The tar's member {name!r} has a name that is not UTF-8; rename it.") from error
    if size > PATH_BYTES_MAX:
        raise InvalidRequest(
            f"The tar's member {name[:80]!r}… has a path of more than {PATH_BYTES_MAX} bytes; shorten it."
        )
    if any(len(part.encode()) > NAME_BYTES_MAX for part in parts):
        raise InvalidRequest(
            f"The tar's member {name[:80]!r}… has a name of more than {NAME_BYTES_MAX} bytes, which no file system "
            "holds; shorten it."
        )
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise InvalidRequest(
            f"The tar's member {name!r} has a path that is absolute or holds `..`, `.` or an empty part; "
            "send plain relative paths."
        )
    if parts[0] not in PARTS:
        raise InvalidRequest(
            f"The tar's member {name!r} is neither under files/ (the working tree) nor under git/ (its history)."
        )
    return parts[0], "/".join(parts[1:])


def check_target(name: str, path: str, target: str) -> None:
    """Check that a symlink stays inside. `..` may only lead it: after a name it could follow another symlink
    out."""
    try:
        target.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"The symlink {name!r} has a target that is not UTF-8; leave it out.") from error
    if len(target.encode()) > TARGET_BYTES_MAX:
        raise InvalidRequest(
            f"The symlink {name!r} has a target of more than {TARGET_BYTES_MAX} bytes; leave it out."
        )
    parts = target.split("/")
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    depth = path.count("/")
    if not target or target.startswith("/") or climbs > depth or ".." in parts[climbs:] or "\0" in target:
        raise InvalidRequest(
            f"The symlink {name!r} points to {target!r}, which leaves the tree (or could); leave it out."
        )
