"""Files on the wire: names, limits, and what a list or an upload may say."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec

from remit.schema.lists import ListOf
from remit.schema.operation import Operation
from remit.schema.wire import Params

FILE_BYTES_MAX = 500 << 20
"""One upload."""
FILENAME_LENGTH_MAX = 255
EXPIRES_IN_SECONDS_MIN = 3_600
EXPIRES_IN_SECONDS_MAX = 7_776_000
FILES_LIMIT_MAX = 1_000
FILE_IDS_MAX = 100

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF_TYPE = "application/pdf"
TEXT_TYPES = frozenset(
    {"application/json", "application/xml", "application/yaml", "application/x-yaml", "application/toml"}
)
"""Besides `text/…`: what a document block takes as text."""
MESSAGE_FILE_BYTES_MAX = 20 << 20
"""A file named in a message goes to the model whole."""


class UploadFields(Params, frozen=True):
    """The parts of POST /v1/files beside `file`."""

    expires_in_seconds: (
        Annotated[int, msgspec.Meta(ge=EXPIRES_IN_SECONDS_MIN, le=EXPIRES_IN_SECONDS_MAX)] | None
    ) = None


def is_text(mime_type: str) -> bool:
    """Return whether a file of this type can be shown to a model as words."""
    return mime_type.startswith("text/") or mime_type in TEXT_TYPES


class FileScope(TypedDict):
    """The owner of a file."""

    type: Literal["session"]
    id: str


class FileMetadata(TypedDict):
    """The metadata of a file."""

    id: str
    type: Literal["file"]
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    downloadable: bool
    expires_at: str | None
    scope: FileScope | None


class FileDeleted(TypedDict):
    """The word that a file is gone."""

    id: str
    type: Literal["file_deleted"]


class FilePaging(Params, frozen=True):
    """The selection of listed files: a page of them, or those with these ids."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=FILES_LIMIT_MAX)] | None = None
    page: str | None = None
    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=FILE_IDS_MAX)] = ()
    scope_id: str | None = None


_ALL, _ONE = "/v1/files", "/v1/files/{file_id}"
UPLOAD = Operation("POST", _ALL, "Upload a file", answer=FileMetadata, upload="multipart", gate="uploads")
LIST = Operation("GET", _ALL, "List files", query=FilePaging, answer=ListOf[FileMetadata])
RETRIEVE = Operation("GET", _ONE, "Retrieve what is known of a file", answer=FileMetadata)
DELETE = Operation("DELETE", _ONE, "Delete a file", answer=FileDeleted)
DOWNLOAD = Operation("GET", f"{_ONE}/content", "Download a file", answer=bytes)
