"""Files: upload, list, retrieve, download, delete, expiry, through both shapes of the official client."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import anthropic
import pytest
from anthropic.types import FileMetadata
from anthropic.types.beta import BetaFileMetadata

from api.samples import new_session
from api.world import World
from remit.catalog import files as files_module
from remit.catalog.files import Files
from remit.catalog.owned_blobs import KEPT_SECONDS
from remit.errors import BlobMissing
from remit.server.app import create_app
from remit.server.operations.multipart import Multipart
from remit.values import Page

pytestmark = pytest.mark.anyio


async def test_uploaded_file_comes_back_byte_for_byte_in_both_shapes(world: World) -> None:
    content = bytes(range(256)) * 4_000
    async with world.sdk() as client, world.http() as http:
        beta = await client.beta.files.upload(file=("data.csv", io.BytesIO(content), "text/csv"))
        plain = await client.files.upload(file=('é "q".bin', content))
        metadata = await client.beta.files.retrieve_metadata(beta.id)
        downloaded = await client.beta.files.download(beta.id)
        again = await client.files.download(plain.id)
        raw = (await http.get(f"/v1/files/{beta.id}")).json()
        answer = await http.get(f"/v1/files/{plain.id}/content")
    assert isinstance(beta, BetaFileMetadata)
    assert isinstance(plain, FileMetadata)
    assert (beta.filename, beta.mime_type, beta.size_bytes) == ("data.csv", "text/csv", len(content))
    assert (beta.type, beta.downloadable, beta.expires_at, beta.scope) == ("file", True, None, None)
    assert (plain.filename, plain.mime_type) == ('é "q".bin', "application/octet-stream")
    assert metadata == beta
    assert await downloaded.read() == content
    assert await again.read() == content
    assert set(raw) == set(BetaFileMetadata.model_fields)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9%20%22q%22.bin"


@pytest.mark.parametrize(
    ("filename", "mime_type", "named", "typed"),
    [
        ("folder/sub/notes.md", "text/markdown", "notes.md", "text/markdown"),
        ("C:\\Users\\me\\report.pdf", None, "report.pdf", "application/pdf"),
        ("picture.png", "application/octet-stream", "picture.png", "image/png"),
        ("what", None, "what", "application/octet-stream"),
        ("", "application/pdf", "unnamed.pdf", "application/pdf"),
        ("page.html", "no type at all", "page.html", "text/html"),
        ("what", "\u00e9/\u00e9", "what", "application/octet-stream"),
    ],
)
async def test_name_and_type_are_kept_or_made_up(
    world: World, filename: str, mime_type: str | None, named: str, typed: str
) -> None:
    async with world.http() as http:
        part = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        if mime_type:
            part += f"Content-Type: {mime_type}\r\n"
        answer = await http.post(
            "/v1/files",
            content=(part + "\r\nx\r\n--b--\r\n").encode(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
    assert (answer.json()["filename"], answer.json()["mime_type"]) == (named, typed)


async def test_list_pages_from_the_newest_and_ids_select(world: World) -> None:
    async with world.sdk() as client:
        made: list[str] = []
        for number in range(5):
            world.clock.jump(1)
            made.append((await client.beta.files.upload(file=(f"{number}.txt", b"x"))).id)
        listed = [file.id async for file in client.beta.files.list(limit=2)]
        page = await client.beta.files.list(ids=[made[1], made[3], made[1], "file_unknown"])
        with pytest.raises(anthropic.BadRequestError, match="ids"):
            await client.beta.files.list(ids=[made[0]], limit=5)
        with pytest.raises(anthropic.BadRequestError, match="at most 100"):
            await client.beta.files.list(ids=[f"file_{number}" for number in range(101)])
        with pytest.raises(anthropic.BadRequestError, match="1000"):
            await client.beta.files.list(limit=1001)
        unknown_scope = [file async for file in client.beta.files.list(scope_id="sesn_unknown")]
    assert listed == made[::-1]
    assert [file.id for file in page.data] == [made[3], made[1]]
    assert page.next_page is None
    assert unknown_scope == []


async def test_deleted_file_is_gone_with_its_bytes_unless_another_file_has_them(world: World) -> None:
    async with world.sdk() as client:
        one = await client.beta.files.upload(file=("a.txt", b"same"))
        two = await client.beta.files.upload(file=("b.txt", b"same"))
        deleted = await client.beta.files.delete(one.id)
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.files.retrieve_metadata(one.id)
        assert await (await client.beta.files.download(two.id)).read() == b"same"
        resource = await world.services.files.retrieve(world.one, two.id)
        digest = resource.config.sha256
        await client.beta.files.delete(two.id)
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.files.delete(two.id)
    assert (deleted.id, deleted.type) == (one.id, "file_deleted")
    await require_swept(world, digest)


async def test_expired_file_says_so_and_its_bytes_are_gone(world: World) -> None:
    async with world.sdk() as client:
        file = await client.beta.files.upload(file=("a.txt", b"fleeting"), expires_in_seconds=3600)
        assert file.expires_at is not None
        assert (file.expires_at - file.created_at).total_seconds() == 3600
        world.clock.jump(3599)
        assert await (await client.beta.files.download(file.id)).read() == b"fleeting"
        world.clock.jump(2)
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.beta.files.download(file.id)
        session = await new_session(client)
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.beta.sessions.resources.add(session.id, file_id=file.id, type="file")
        assert (await client.beta.files.retrieve_metadata(file.id)).expires_at == file.expires_at
        for seconds in (3599, 7_776_001):
            with pytest.raises(anthropic.BadRequestError, match="expires_in_seconds"):
                await client.beta.files.upload(file=("a.txt", b"x"), expires_in_seconds=seconds)
        digest = (await world.services.files.retrieve(world.one, file.id)).config.sha256
    assert isinstance(caught.value, anthropic.types.FileExpiredError)
    assert caught.value.error_code == refused.value.error_code == "file_expired"
    await require_swept(world, digest)


async def require_swept(world: World, digest: str) -> None:
    """Nobody needs it, and in a day it is gone."""
    assert not await world.services.catalog.has_reference(world.one, digest)
    world.clock.jump(KEPT_SECONDS + 1)
    await world.services.blobs.collect()
    assert await world.services.blobs.has([digest]) == frozenset()


LATE_FIELD = b'--b\r\nContent-Disposition: form-data; name="colour"\r\n\r\nred\r\n'
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "named"),
    [
        (b"--b--\r\n", "multipart/form-data; boundary=b", "`file` is required"),
        (FILE_PART * 2 + b"--b--\r\n", "multipart/form-data; boundary=b", "`file`: is there twice"),
        (FILE_PART, "multipart/form-data; boundary=b", "ends before"),
        (FILE_PART + b"--b--\r\n", "application/json", "`content-type`"),
        (FILE_PART + b"--b--\r\n", "multipart/form-data", "boundary"),
        (b"nonsense", "multipart/form-data; boundary=b", "multipart"),
        (FILE_PART + LATE_FIELD + b"--b--\r\n", "multipart/form-data; boundary=b", "`colour`"),
        (FILE_PART.replace(b'"a"', b'".."') + b"--b--\r\n", "multipart/form-data; boundary=b", "file name"),
        (
            FILE_PART.replace(b'"a"', '"\u202egpj.exe"'.encode()) + b"--b--\r\n",
            "multipart/form-data; boundary=b",
            "file name",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nx\r\n' + FILE_PART + b"--b--\r\n",
            "multipart/form-data; boundary=b",
            "`purpose`",
        ),
        (
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
            "multipart/form-data; boundary=b",
            "name",
        ),
    ],
)
async def test_bad_upload_is_refused_by_name_and_leaves_no_file(
    world: World, body: bytes, content_type: str, named: str
) -> None:
    async with world.http() as http:
        answer = await http.post("/v1/files", content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    assert await world.services.files.list(world.one, Page(limit=9)) == []
    await require_swept(world, hashlib.sha256(b"x").hexdigest())


async def test_upload_beyond_the_limit_is_refused_while_it_arrives(world: World) -> None:
    parts = world.services
    files = Files(parts.catalog, parts.blobs, parts.clock, parts.ids, bytes_max=1_000)
    small = replace(parts, files=files)
    world.app = create_app(small)
    async with world.sdk() as client:
        await client.beta.files.upload(file=("a", b"x" * 1_000))
        with pytest.raises(anthropic.ContentTooLargeError):
            await client.beta.files.upload(file=("a", b"x" * 1_001))


async def test_parts_are_read_in_pieces_of_any_size() -> None:
    """Never more of the file in memory than what just arrived."""
    content = b"\r\n--b\r\n--not-the-boundary\r\n" * 50
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="expires_in_seconds"\r\n\r\n3600\r\n'
        b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + content
        + b"\r\n--edge--\r\n"
    )
    for size in (1, 2, 7, 100, len(body)):
        pieces: list[bytes] = []

        async def chunks(size: int = size) -> AsyncGenerator[bytes]:
            for start in range(0, len(body), size):
                yield body[start : start + size]

        parts = Multipart("multipart/form-data; boundary=edge", chunks())
        first = await parts.next_part()
        assert first is not None
        assert (first.name, await parts.field()) == ("expires_in_seconds", "3600")
        second = await parts.next_part()
        assert second is not None
        assert second.filename == "a"
        stream: AsyncIterator[bytes] = parts.content()
        async for piece in stream:
            assert len(piece) <= size + len("\r\n--edge")
            pieces.append(piece)
        assert b"".join(pieces) == content
        assert await parts.next_part() is None


async def test_files_of_another_workspace_do_not_exist(world: World) -> None:
    async with world.sdk() as client, world.sdk("rk_two") as other:
        file = await client.beta.files.upload(file=("a.txt", b"mine"))
        for call in (
            other.beta.files.retrieve_metadata(file.id),
            other.beta.files.download(file.id),
            other.beta.files.delete(file.id),
        ):
            with pytest.raises(anthropic.NotFoundError):
                await call
        assert (await other.beta.files.list(ids=[file.id])).data == []
        assert [each async for each in other.beta.files.list()] == []


async def test_file_whose_bytes_went_while_it_was_stored_is_not_made(world: World) -> None:
    files = world.services.files
    body = files_module.FileBody(filename="a", mime_type="text/plain", size_bytes=1, sha256="0" * 64)
    with pytest.raises(BlobMissing, match="Upload it again"):
        await files.add(world.one, "file_gone", body)
    assert await files.list(world.one, Page(limit=9)) == []
    assert not await world.services.catalog.has_reference(world.one, "0" * 64)
