"""/v1/files"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.responses import StreamingResponse
from starlette.types import ASGIApp

from remit.catalog.files import File, Upload, file_to_wire
from remit.errors import InvalidRequest, NotFound
from remit.schema import files
from remit.schema.operation import NoQuery
from remit.schema.wire import convert
from remit.server.operations.cursors import ListPage
from remit.server.operations.listing import read_page, resource_list
from remit.server.operations.multipart import Multipart
from remit.server.operations.requests import json_response, pieces
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.routes.outputs import captured_state
from remit.sessions.outputs import session_file_ids
from remit.values import Principal


@dataclass
class _Parts:
    """What has been read of an upload so far."""

    filename: str | None = None
    mime_type: str | None = None
    has_file: bool = False
    fields: dict[str, str] = field(default_factory=dict[str, str])


class FileRoutes:
    """Upload, list, retrieve, download, delete."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(files.UPLOAD)
    async def upload(self, call: Call[None, NoQuery]) -> files.FileMetadata:
        kept, principal = self._services.files, call.principal
        body = Multipart(call.request.headers.get("content-type", ""), pieces(call.request))
        try:
            async with kept.uploading(principal) as upload:
                parts = await _read(body, upload)
                given = convert(_numbers(parts.fields), files.UploadFields, what="body")
                resource = await kept.create(
                    principal,
                    upload,
                    filename=parts.filename,
                    mime_type=parts.mime_type,
                    expires_in_seconds=given.expires_in_seconds,
                )
        finally:
            await body.close()
        return file_to_wire(resource)

    @handles(files.LIST)
    async def list(self, call: Call[None, files.FilePaging]) -> ASGIApp:
        query, principal = call.query, call.principal
        ids, scope_id = query.ids, query.scope_id
        if ids and (query.page or query.limit):
            raise InvalidRequest("`ids[]`: goes without `page` and `limit`; remove them.")
        if ids:
            found = await self._services.files.find(principal, ids)
            found = [f for f in found if scope_id is None or f.config.session_id == scope_id]
            return json_response({"data": list(map(file_to_wire, found)), "next_page": None})
        page = read_page(query, list=f"files of {scope_id}" if scope_id else "files")
        if scope_id is None:
            found = list(await self._services.files.list(principal, page.query()))
        else:
            found = await self._of_session(principal, scope_id, page)
        return resource_list(page, found, file_to_wire)

    @handles(files.RETRIEVE)
    async def retrieve(self, call: Call[None, NoQuery], file_id: str) -> files.FileMetadata:
        return file_to_wire(await self._services.files.retrieve(call.principal, file_id))

    @handles(files.DOWNLOAD)
    async def download(self, call: Call[None, NoQuery], file_id: str) -> ASGIApp:
        resource = await self._services.files.usable(call.principal, file_id)
        body = resource.config
        return StreamingResponse(
            self._services.files.stream(resource),
            media_type=body.mime_type,
            headers={
                "content-length": str(body.size_bytes),
                # What was uploaded is never shown as a page of this server's.
                "content-disposition": f"attachment; filename*=UTF-8''{quote(body.filename, safe='')}",
                "x-content-type-options": "nosniff",
            },
        )

    @handles(files.DELETE)
    async def delete(self, call: Call[None, NoQuery], file_id: str) -> files.FileDeleted:
        await self._services.files.delete(call.principal, file_id)
        return {"id": file_id, "type": "file_deleted"}

    async def _of_session(self, principal: Principal, session_id: str, page: ListPage) -> list[File]:
        """The session's copies and outputs, newest first; an unknown scope has no files."""
        try:
            state = await captured_state(self._services, principal, session_id)
        except NotFound:
            return []
        file_ids = await session_file_ids(state, self._services.blobs)
        found = await self._services.files.find(principal, file_ids)
        if (cursor := page.cursor) is not None:
            found = [file for file in found if file.position < cursor.position]
        return found[: page.limit + 1]


def _numbers(fields: dict[str, str]) -> dict[str, int | str]:
    """Forms have only text: digits are a number."""
    return {
        name: int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
        for name, text in fields.items()
    }


async def _read(body: Multipart, upload: Upload) -> _Parts:
    """The parts in any order; the bytes are stored as they come."""
    parts = _Parts()
    while (part := await body.next_part()) is not None:
        if part.name == "file" and parts.has_file:
            raise InvalidRequest("`file`: is there twice; upload one file at a time.")
        if part.name == "file":
            parts.filename, parts.mime_type, parts.has_file = part.filename, part.content_type, True
            await upload.store(body.content())
        elif part.name in parts.fields:
            raise InvalidRequest(f"`{part.name}`: is given twice; give it once.")
        else:
            parts.fields[part.name] = await body.field()
    if not parts.has_file:
        raise InvalidRequest("`file` is required; add the part.")
    return parts
