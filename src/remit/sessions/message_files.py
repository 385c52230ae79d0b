"""Files named in messages: checked and pinned when they are sent, put in as content when a model is asked."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from remit.catalog.files import FileBody, Files
from remit.errors import InvalidRequest, NotFound
from remit.interfaces import BlobReader
from remit.schema.blocks import DocumentBlock, FileSource, ImageBlock
from remit.schema.events import (
    FileRubric,
    InboundEvent,
    TextRubric,
    UserCustomToolResult,
    UserDefineOutcome,
    UserMessage,
)
from remit.schema.files import IMAGE_TYPES, MESSAGE_FILE_BYTES_MAX, PDF_TYPE, is_text
from remit.schema.verifiers import RUBRIC_LENGTH_MAX
from remit.sessions.inbound import require_sendable_image
from remit.values import JsonObject, JsonValue, ModelRequest, Principal

FILES_PER_REQUEST_MAX = 100


async def pin_files(
    files: Files, principal: Principal, events: Sequence[InboundEvent], *, field: str = "events"
) -> dict[str, JsonObject]:
    """Return the entry that the log keeps of each file that messages name: its bytes outlive the file itself.

    Raises InvalidRequest naming the block whose file is unknown, expired, too large or of another type."""
    pinned: dict[str, JsonObject] = {}
    for index, event in enumerate(events):
        if not isinstance(event, UserMessage | UserCustomToolResult):
            continue
        for number, block in enumerate(event.content or ()):
            if not isinstance(block, ImageBlock | DocumentBlock) or not isinstance(block.source, FileSource):
                continue
            place = f"{field}[{index}].content[{number}].source.file_id"
            body = await _body(files, principal, block.source.file_id, place)
            _check_type(block, body, place)
            if isinstance(block, ImageBlock):
                content = await files.read(await files.retrieve(principal, block.source.file_id))
                require_sendable_image(base64.b64encode(content).decode(), place)
            pinned[block.source.file_id] = {
                "sha256": body.sha256,
                "mime_type": body.mime_type,
                "filename": body.filename,
            }
    if len(pinned) > FILES_PER_REQUEST_MAX:
        raise InvalidRequest(
            f"`{field}`: names more than {FILES_PER_REQUEST_MAX} files; send fewer at a time."
        )
    return pinned


async def read_rubrics(
    files: Files, principal: Principal, events: Sequence[InboundEvent], *, field: str = "events"
) -> list[InboundEvent]:
    """Return the events with the text of each rubric that is a file. Raises InvalidRequest."""
    read: list[InboundEvent] = []
    for index, event in enumerate(events):
        if isinstance(event, UserDefineOutcome) and isinstance(event.rubric, FileRubric):
            text = await _rubric(files, principal, event.rubric.file_id, f"{field}[{index}].rubric.file_id")
            event = msgspec.structs.replace(event, rubric=TextRubric(content=text))
        read.append(event)
    return read


async def with_files(
    request: ModelRequest, pinned: Mapping[str, JsonObject], blobs: BlobReader
) -> ModelRequest:
    """The request with the content of every pinned file in place of its id. Raises BlobMissing."""
    if not pinned:
        return request
    loaded: dict[str, bytes] = {}

    async def block_of(block: JsonValue) -> JsonValue:
        if not isinstance(block, dict):
            return block
        if isinstance(inner := block.get("content"), list):
            return {**block, "content": [await block_of(each) for each in inner]}
        source = block.get("source")
        if not isinstance(source, dict) or source.get("type") != "file":
            return block
        file_id = str(source["file_id"])
        file = pinned[file_id]
        if file_id not in loaded:
            loaded[file_id] = await blobs.read(str(file["sha256"]))
        return _block_with_content(block, file, loaded[file_id])

    messages = [
        {
            **message,
            "content": [await block_of(block) for block in cast("list[JsonValue]", message["content"])],
        }
        for message in request.messages
    ]
    return msgspec.structs.replace(request, messages=tuple(messages))


def _block_with_content(block: JsonObject, file: JsonObject, content: bytes) -> JsonObject:
    mime_type = str(file["mime_type"])
    if block["type"] == "document" and is_text(mime_type):
        source: JsonObject = {
            "type": "text",
            "media_type": "text/plain",
            "data": content.decode(errors="replace"),
        }
    else:
        source = {"type": "base64", "media_type": mime_type, "data": base64.b64encode(content).decode()}
    named: JsonObject = {"title": file["filename"]} if block["type"] == "document" else {}
    return {**named, **block, "source": source}


async def _body(files: Files, principal: Principal, file_id: str, place: str) -> FileBody:
    try:
        return (await files.usable(principal, file_id)).config
    except NotFound as error:
        raise InvalidRequest(f"`{place}`: {error.message}", code=error.code or "file_not_found") from error


def _check_type(block: ImageBlock | DocumentBlock, body: FileBody, place: str) -> None:
    if body.size_bytes > MESSAGE_FILE_BYTES_MAX:
        raise InvalidRequest(
            f"`{place}`: the file has {body.size_bytes} bytes; a message takes at most {MESSAGE_FILE_BYTES_MAX}. "
            "Give it to the session as a resource instead."
        )
    if isinstance(block, ImageBlock) and body.mime_type not in IMAGE_TYPES:
        raise InvalidRequest(
            f"`{place}`: the file is {body.mime_type}; an image is one of {', '.join(sorted(IMAGE_TYPES))}."
        )
    if isinstance(block, DocumentBlock) and body.mime_type != PDF_TYPE and not is_text(body.mime_type):
        raise InvalidRequest(
            f"`{place}`: the file is {body.mime_type}; a document is {PDF_TYPE} or text. Give other files to the "
            "session as resources."
        )
    if not body.size_bytes:
        raise InvalidRequest(f"`{place}`: the file is empty; send one with content.")


async def _rubric(files: Files, principal: Principal, file_id: str, place: str) -> str:
    body = await _body(files, principal, file_id, place)
    if body.size_bytes > 4 * RUBRIC_LENGTH_MAX:  # no character of UTF-8 is longer
        raise InvalidRequest(f"`{place}`: a rubric has at most {RUBRIC_LENGTH_MAX} characters; shorten it.")
    content = await files.read(await files.retrieve(principal, file_id))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"`{place}`: the file is not UTF-8 text; upload one that is.") from error
    if not text.strip():
        raise InvalidRequest(f"`{place}`: the file is empty; write down what must hold.")
    if len(text) > RUBRIC_LENGTH_MAX:
        raise InvalidRequest(f"`{place}`: a rubric has at most {RUBRIC_LENGTH_MAX} characters; shorten it.")
    return text
