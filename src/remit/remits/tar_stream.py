"""Reads an untrusted tar as it arrives, member by member, never holding more than one small file.

Only what a working tree is made of is taken: regular files, folders, symlinks that stay inside. Everything else is
refused by name. The standard library parses header blocks; it never opens the archive.
"""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator

from remit.errors import InvalidRequest, TooLarge
from remit.values import Value

BLOCK = tarfile.BLOCKSIZE
EXTENSION_BYTES_MAX = 1 << 20
"""A long name or a pax header is never larger than this."""
PIECE_BYTES = 1 << 18

FILE_TYPES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
TYPE_NAMES = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class TarMember(Value, frozen=True, kw_only=True):
    """One header, with the extensions before it applied."""

    path: str
    kind: str
    """file | dir | symlink"""
    size: int
    mode: int
    mtime_ns: int
    target: str | None = None


class TarStream:
    """Call `next_member`, then take the file's content with `content` (or leave it), and again."""

    def __init__(self, chunks: AsyncIterator[bytes], *, size_bytes_max: int) -> None:
        self._chunks = chunks
        self._size_bytes_max = size_bytes_max
        self._buffer = bytearray()
        self._received = 0
        self._left = 0
        """Bytes of the current member's content that were not read."""
        self._padding = 0

    async def next_member(self) -> TarMember | None:
        """The next thing in the archive; None at its end. Raises InvalidRequest, TooLarge."""
        extensions: dict[str, str] = {}
        while True:
            header = await self._next_header()
            if header is None:
                if extensions:
                    raise InvalidRequest("The tar ends after a header extension; send the whole archive.")
                return None
            if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                extensions |= _pax_fields(await self._extension(header))
            elif header.type == tarfile.XGLTYPE:
                await self._extension(header)
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                extensions["path"] = _text((await self._extension(header)).rstrip(b"\0"))
            elif header.type == tarfile.GNUTYPE_LONGLINK:
                extensions["linkpath"] = _text((await self._extension(header)).rstrip(b"\0"))
            else:
                return self._member(header, extensions)

    async def content(self) -> AsyncIterator[bytes]:
        """The current file's bytes."""
        while self._left:
            piece = await self._take(min(self._left, PIECE_BYTES))
            self._left -= len(piece)
            yield piece

    async def drain(self) -> None:
        """Read what comes after the archive's end, so that the caller is not cut while it still sends."""
        self._buffer.clear()
        while await self._receive():
            self._buffer.clear()

    async def _next_header(self) -> tarfile.TarInfo | None:
        async for _ in self.content():
            pass
        if self._padding:
            await self._take_exactly(self._padding)
            self._padding = 0
        while len(self._buffer) < BLOCK and await self._receive():
            pass
        if not self._buffer:
            return None
        try:
            header = tarfile.TarInfo.frombuf(await self._take_exactly(BLOCK), "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            if "end of file header" in str(error):
                return None
            raise InvalidRequest(
                f"The body is no tar archive ({error}); send an uncompressed tar."
            ) from error
        self._set_size(header.size if header.type not in (tarfile.DIRTYPE, tarfile.SYMTYPE) else 0)
        return header

    def _set_size(self, size: int) -> None:
        if size < 0:
            raise InvalidRequest("The tar has a member of negative size; make it again.")
        self._left = size
        self._padding = -size % BLOCK

    async def _extension(self, header: tarfile.TarInfo) -> bytes:
        if header.size > EXTENSION_BYTES_MAX:
            raise TooLarge(f"The tar has a header extension of more than {EXTENSION_BYTES_MAX} bytes.")
        return b"".join([piece async for piece in self.content()])

    def _member(self, header: tarfile.TarInfo, extensions: dict[str, str]) -> TarMember:
        name = extensions.get("path", header.name)
        if (size := extensions.get("size")) is not None:
            if not size.isascii() or not size.isdigit() or header.type not in FILE_TYPES:
                raise InvalidRequest(f"The tar's member {name!r} has an impossible size; make it again.")
            self._set_size(int(size[:20]))
        if any(key.startswith("GNU.sparse") for key in extensions):
            raise InvalidRequest(
                f"The tar's member {name!r} is a sparse file; leave it out or store it whole."
            )
        if header.type in FILE_TYPES:
            # An old-style folder is a file whose name ends in a slash.
            kind = "dir" if name.endswith("/") and header.type == tarfile.AREGTYPE else "file"
        elif header.type == tarfile.DIRTYPE:
            kind = "dir"
        elif header.type == tarfile.SYMTYPE:
            kind = "symlink"
        else:
            what = TYPE_NAMES.get(header.type, f"of the unknown type {header.type!r}")
            raise InvalidRequest(
                f"The tar's member {name!r} is {what}; send only regular files, folders and symlinks."
            )
        return TarMember(
            path=name,
            kind=kind,
            size=self._left,
            mode=header.mode & 0o777,
            mtime_ns=_nanoseconds(extensions.get("mtime"), header.mtime),
            target=extensions.get("linkpath", header.linkname) if kind == "symlink" else None,
        )

    async def _take(self, count: int) -> bytes:
        """Up to so many bytes, at least one."""
        if not self._buffer and not await self._receive():
            raise InvalidRequest("The tar ends in the middle of a member; send the whole archive.")
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    async def _take_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._receive():
                raise InvalidRequest("The tar ends in the middle of a block; send the whole archive.")
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    async def _receive(self) -> bool:
        """Add a piece to the buffer; False when there is no more."""
        async for chunk in self._chunks:
            if not chunk:
                continue
            self._received += len(chunk)
            if self._received > self._size_bytes_max:
                raise TooLarge(f"The upload is larger than {self._size_bytes_max} bytes; send less.")
            self._buffer += chunk
            return True
        return False


def _pax_fields(data: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE\\n` records."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(data) and data[position] != 0:
        space = data.find(b" ", position, position + 20)
        length = data[position:space] if space > 0 else b""
        end = position + int(length) if length.isdigit() else 0
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end <= space or end > len(data) or not equals or not value.endswith(b"\n"):
            raise InvalidRequest("The tar has a broken pax header; make it again.")
        fields[_text(key)] = _text(value[:-1])
        position = end
    return fields


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _nanoseconds(text: str | None, seconds: float) -> int:
    if text is not None:
        whole, _, fraction = text.partition(".")
        if whole.lstrip("-").isdigit() and (not fraction or fraction.isdigit()):
            return max(0, int(whole[:18])) * 10**9 + int(fraction[:9].ljust(9, "0") or 0)
    return max(0, int(seconds)) * 10**9
