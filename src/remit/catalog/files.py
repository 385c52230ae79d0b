"""Files: bytes with a name in a workspace. Uploads belong to the workspace, copies and outputs to a session.

The bytes are blobs; every file holds a reference of its own, so that they go when the last file with them goes.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from remit.catalog.owned_blobs import BlobPuts, OwnedBlobs
from remit.catalog.resources import ResourceKind, Resources, Stored
from remit.clock import Clock, rfc3339
from remit.errors import InvalidRequest, NotFound
from remit.ids import Ids
from remit.interfaces import Catalog
from remit.schema.files import FILE_BYTES_MAX, FILENAME_LENGTH_MAX, FileMetadata
from remit.values import Principal
from remit.wording import printable

MIME_TYPE_DEFAULT = "application/octet-stream"
MICROSECONDS = 1_000_000
_MIME_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")


class FileBody(msgspec.Struct, frozen=True, kw_only=True):
    """The stored body of a file, beside its name and time."""

    filename: str
    mime_type: str
    size_bytes: int
    sha256: str
    expires_at_us: int | None = None
    session_id: str | None = None
    """The session it belongs to."""
    is_copy: bool = False
    """What a session was given, not what its agent left: programs tell them apart by `downloadable`."""


FILE = ResourceKind(name="file", id_prefix="file", config=FileBody)
File = Stored[FileBody]


class Upload:
    """The bytes of a file that does not exist yet."""

    def __init__(self, file_id: str, puts: BlobPuts, bytes_max: int) -> None:
        self.file_id = file_id
        self.puts = puts
        self._bytes_max = bytes_max
        self.size_bytes = 0
        self.sha256 = ""

    async def store(self, content: AsyncIterator[bytes]) -> None:
        """Make them durable as they arrive. Raises TooLarge above the limit."""
        self.sha256 = await self.puts.put(self._counted(content), size_bytes_max=self._bytes_max)

    async def _counted(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in content:
            self.size_bytes += len(piece)
            yield piece


class Files:
    """Create, retrieve, list, read and delete the files of a workspace.

    Every method raises NotFound for a file that is unknown or another workspace's.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: OwnedBlobs,
        clock: Clock,
        ids: Ids,
        *,
        bytes_max: int = FILE_BYTES_MAX,
    ) -> None:
        self._files = Resources(FILE, catalog, clock, ids)
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._bytes_max = bytes_max
        self.retrieve = self._files.retrieve
        self.list = self._files.list

    @asynccontextmanager
    async def uploading(self, principal: Principal) -> AsyncGenerator[Upload]:
        """A file that is being sent; nothing is left of one that is not created by the end of the block."""
        file_id = self._ids.new(FILE.id_prefix)
        async with self._blobs.puts(principal, file_id) as puts:
            upload = Upload(file_id, puts, self._bytes_max)
            yield upload

    async def create(
        self,
        principal: Principal,
        upload: Upload,
        *,
        filename: str | None,
        mime_type: str | None,
        expires_in_seconds: int | None = None,
    ) -> File:
        """Create a file of an upload that is stored. Raises InvalidRequest for a name that cannot be one."""
        name, type = name_and_type(filename, mime_type)
        body = FileBody(
            filename=name,
            mime_type=type,
            size_bytes=upload.size_bytes,
            sha256=upload.sha256,
            expires_at_us=(
                self._clock.now_us() + expires_in_seconds * MICROSECONDS
                if expires_in_seconds is not None
                else None
            ),
        )
        await upload.puts.commit()
        return await self._files.create(principal, body, id=upload.file_id)

    async def add(self, principal: Principal, file_id: str, body: FileBody) -> File:
        """A file of bytes that are stored. Repeating it with the same id changes nothing."""
        async with self._blobs.puts(principal, file_id) as puts:
            await puts.need([body.sha256])
            await puts.commit()
            return await self._files.ensure(principal, file_id, body)

    async def copy(self, principal: Principal, file_id: str, *, session_id: str) -> File:
        """Copy a file: the same bytes as a file of a session's own, which outlives the original. Raises
        NotFound (expired too)."""
        body = (await self.usable(principal, file_id)).config
        copied = msgspec.structs.replace(body, session_id=session_id, is_copy=True, expires_at_us=None)
        return await self.add(principal, self._ids.new(FILE.id_prefix), copied)

    async def usable(self, principal: Principal, file_id: str) -> File:
        """A file whose bytes are there. Raises NotFound with `file_expired` when they are gone for good."""
        file = await self.retrieve(principal, file_id)
        expires_at_us = file.config.expires_at_us
        if expires_at_us is None or self._clock.now_us() < expires_at_us:
            return file
        await self._blobs.forget(principal, file_id)
        raise NotFound(
            f"File {file_id!r} expired at {rfc3339(expires_at_us)} and its bytes are gone; upload it again.",
            code="file_expired",
        )

    async def find(self, principal: Principal, file_ids: Sequence[str]) -> list[File]:
        """Return those of these files that exist, newest first."""
        found: list[File] = []
        for file_id in dict.fromkeys(file_ids):
            try:
                found.append(await self.retrieve(principal, file_id))
            except NotFound:
                continue  # by contract: what is not there is left out
        return sorted(found, key=lambda file: file.position, reverse=True)

    def stream(self, file: File) -> AsyncIterator[bytes]:
        """The bytes of a usable file in pieces."""
        return self._blobs.stream(file.config.sha256)

    async def read(self, file: File) -> bytes:
        """The bytes of a usable file."""
        return await self._blobs.read(file.config.sha256)

    async def delete(self, principal: Principal, file_id: str) -> None:
        """Delete a file; sessions that copied it keep their copies."""
        await self._files.delete(principal, file_id)
        await self._blobs.forget(principal, file_id)

    async def delete_all(self, principal: Principal, file_ids: Sequence[str]) -> None:
        """Delete those of these files that are still there."""
        for file_id in file_ids:
            try:
                await self.delete(principal, file_id)
            except NotFound:
                continue  # somebody was quicker


def file_to_wire(file: File) -> FileMetadata:
    """The FileMetadata object of the API."""
    body = file.config
    return {
        "id": file.id,
        "type": "file",
        "filename": body.filename,
        "mime_type": body.mime_type,
        "size_bytes": body.size_bytes,
        "created_at": file.stamps()["created_at"],
        "downloadable": not body.is_copy,
        "expires_at": rfc3339(body.expires_at_us) if body.expires_at_us is not None else None,
        "scope": {"type": "session", "id": body.session_id} if body.session_id is not None else None,
    }


def name_and_type(filename: str | None, mime_type: str | None) -> tuple[str, str]:
    """Return name (its last part) and type; a missing one is made up from the other. Raises
    InvalidRequest."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2].strip()
    type = (mime_type or "").partition(";")[0].strip().lower()
    if type == MIME_TYPE_DEFAULT or _MIME_TYPE.fullmatch(type) is None:
        type = mimetypes.guess_type(name)[0] or MIME_TYPE_DEFAULT
    if not name:
        known = mimetypes.guess_extension(type) if type != MIME_TYPE_DEFAULT else None
        name = f"unnamed{known or ''}"
    if name in (".", "..") or printable(name) != name or any(ord(character) < 32 for character in name):
        raise InvalidRequest(f"`file`: {name!r} is no file name; rename it.")
    if len(name) > FILENAME_LENGTH_MAX:
        raise InvalidRequest(f"`file`: its name is longer than {FILENAME_LENGTH_MAX} characters; shorten it.")
    return name, type
