"""Looking at what listens in a session's sandbox."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec

from remit.schema.operation import SMALL_BODY_BYTES, Operation
from remit.schema.wire import Params

PREVIEW_SECONDS_DEFAULT = 3_600
PREVIEW_SECONDS_MAX = 86_400

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class PreviewCreate(Params, frozen=True):
    """POST /v1/sessions/{session_id}/previews."""

    port: Port
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=60, le=PREVIEW_SECONDS_MAX)] = PREVIEW_SECONDS_DEFAULT


class Service(TypedDict):
    """A service that listens on a port of a sandbox."""

    type: Literal["service"]
    port: int
    address: str
    pid: int | None
    command: str | None
    preview_path: str


class Services(TypedDict):
    """The services that listen now."""

    data: list[Service]
    is_live: bool


class Preview(TypedDict):
    """An address at which a browser can look at a service, for a time."""

    id: str
    type: Literal["preview"]
    session_id: str
    port: int
    url: str
    expires_at: str


_SESSION = "/v1/sessions/{session_id}"
SERVICES = Operation("GET", f"{_SESSION}/services", "What listens in the session's sandbox", answer=Services)
CREATE = Operation(
    "POST",
    f"{_SESSION}/previews",
    "An address at which a browser can look at a service",
    body=PreviewCreate,
    answer=Preview,
    body_bytes_max=SMALL_BODY_BYTES,
)
