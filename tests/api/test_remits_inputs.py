"""Uploads: what becomes a tree, and what is refused by name without leaving a resource."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.errors import InvalidRequest, TooLarge
from remit.ids import Ids
from remit.remits.creation import InputBody
from remit.remits.inputs import Inputs
from remit.stores.memory import MemoryCatalog
from remit.testing.clock import FakeClock
from remit.values import Page, Principal, ResourceFilter, Tree
from support.kept import kept
from support.remit_bench import in_pieces

pytestmark = pytest.mark.anyio


class Desk:
    """Takes uploads."""

    def __init__(self, folder: Path, clock: FakeClock, principal: Principal) -> None:
        self.blobs = DirectoryBlobStore(folder)
        self.catalog = MemoryCatalog(clock)
        self.principal = principal
        self.inputs = Inputs(
            catalog=self.catalog,
            blobs=kept(self.blobs, self.catalog, clock),
            clock=clock,
            ids=Ids(clock),
            input_bytes_max=3 << 20,
            members_max=50,
        )

    async def upload(self, content: bytes, piece: int = 700) -> tuple[InputBody, Tree]:
        resource = await self.inputs.store(self.principal, in_pieces(content, piece))
        body = resource.config
        return body, msgspec.json.decode(await self.blobs.read(body.tree_digest), type=Tree)

    async def count(self) -> int:
        return len(await self.catalog.list(self.principal, ResourceFilter(kind="input"), Page(limit=10)))


@pytest.fixture
def desk(tmp_path: Path, clock: FakeClock, principal: Principal) -> Desk:
    return Desk(tmp_path / "blobs", clock, principal)


def info(name: str, type: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = type
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("piece", [1, 513, 1 << 20])
async def test_files_folders_and_links_become_a_tree_however_they_arrive(
    desk: Desk, format: int, piece: int
) -> None:
    long = "files/" + "deep/" * 30 + "ünïcode.txt"
    content = tar(
        (info("files/run.sh", mode=0o4755), b"#!/bin/sh\n"),
        (info("files/empty"), b""),
        (info(long), b"long"),
        (info("files/link", tarfile.SYMTYPE, linkname="run.sh"), b""),
        (info("git/HEAD"), b"ref: refs/heads/main\n"),
        format=format,
    )
    body, tree = await desk.upload(content, piece)
    by_path = {entry.path: entry for entry in tree.entries}
    assert (body.files, body.size_bytes, body.has_history) == (4, 14, True)
    assert by_path["run.sh"].mode == 0o755
    assert by_path["link"].target == "run.sh"
    assert by_path["deep"].kind == "dir"
    assert await desk.blobs.read(by_path[long.removeprefix("files/")].sha256 or "") == b"long"
    assert [entry.path for entry in tree.entries] == sorted(by_path)


async def test_a_large_file_arrives_whole(desk: Desk) -> None:
    content = bytes(range(256)) * 8_000
    _, tree = await desk.upload(tar((info("files/large"), content)), 65_536)
    assert await desk.blobs.read(tree.entries[0].sha256 or "") == content


BAD: list[tuple[str, Callable[[], bytes]]] = [
    ("absolute", lambda: tar((info("/etc/passwd"), b"x"))),
    ("parent", lambda: tar((info("files/../../x"), b"x"))),
    ("elsewhere", lambda: tar((info("other/x"), b"x"))),
    ("hard link", lambda: tar((info("files/x", tarfile.LNKTYPE, linkname="files/y"), b""))),
    ("device", lambda: tar((info("files/x", tarfile.CHRTYPE), b""))),
    ("pipe", lambda: tar((info("files/x", tarfile.FIFOTYPE), b""))),
    ("link out", lambda: tar((info("files/x", tarfile.SYMTYPE, linkname="../../x"), b""))),
    ("absolute link", lambda: tar((info("files/x", tarfile.SYMTYPE, linkname="/etc"), b""))),
    ("link that climbs late", lambda: tar((info("files/a/x", tarfile.SYMTYPE, linkname="b/../../.."), b""))),
    ("twice", lambda: tar((info("files/x"), b"1"), (info("files/x"), b"2"))),
    ("below a file", lambda: tar((info("files/x"), b"1"), (info("files/x/y"), b"2"))),
    (
        "below a link",
        lambda: tar((info("files/x", tarfile.SYMTYPE, linkname="y"), b""), (info("files/x/y"), b"2")),
    ),
    ("no tar", lambda: b"this is no tar archive" * 100),
    ("cut short", lambda: tar((info("files/x"), b"x" * 5_000))[:2_000]),
    ("a name of 300 bytes", lambda: tar((info("files/" + "x" * 300), b"x"))),
    ("a folder's name of 256 bytes", lambda: tar((info("files/" + "é" * 128 + "/x"), b"x"))),
    ("a path of 4,000 bytes", lambda: tar((info("files/" + "/".join(["x" * 200] * 20)), b"x"))),
    ("a target of 5,000 bytes", lambda: tar((info("files/x", tarfile.SYMTYPE, linkname="x" * 5_000), b""))),
    ("a file as the root", lambda: tar((info("files"), b"x"))),
]


@pytest.mark.parametrize("make", [make for _, make in BAD], ids=[name for name, _ in BAD])
async def test_what_is_no_plain_tree_is_refused_and_leaves_nothing(
    desk: Desk, make: Callable[[], bytes]
) -> None:
    with pytest.raises(InvalidRequest):
        await desk.upload(make())
    assert await desk.count() == 0


async def test_too_many_bytes_and_too_many_members_are_refused(desk: Desk) -> None:
    with pytest.raises(TooLarge):
        await desk.upload(tar((info("files/x"), b"x" * (4 << 20))), 65_536)
    with pytest.raises(TooLarge):
        await desk.upload(tar(*((info(f"files/{n}"), b"") for n in range(51))))
    assert await desk.count() == 0
