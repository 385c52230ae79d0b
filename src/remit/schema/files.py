"""Files on the wire: names, limits, and what a list or an upload may say."""

from __future__ import annotations

from typing import Annotated

import msgspec

from remit.schema.wire import Params

FILE_BYTES_MAX = 500 << 20
"""One upload."""
FILENAME_LENGTH_MAX = 255
EXPIRES_IN_SECONDS_MIN = 3_600
EXPIRES_IN_SECONDS_MAX = 7_776_000
FILES_LIMIT_DEFAULT = 20
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
    """Whether a file of this type can be shown to a model as words."""
    return mime_type.startswith("text/") or mime_type in TEXT_TYPES
