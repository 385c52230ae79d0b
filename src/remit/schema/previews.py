"""Looking at what listens in a session's sandbox."""

from __future__ import annotations

from typing import Annotated

import msgspec

from remit.schema.wire import Params

PREVIEW_SECONDS_DEFAULT = 3_600
PREVIEW_SECONDS_MAX = 86_400

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class PreviewCreate(Params, frozen=True):
    """POST /v1/sessions/{session_id}/previews."""

    port: Port
    expires_in_seconds: Annotated[int, msgspec.Meta(ge=60, le=PREVIEW_SECONDS_MAX)] = PREVIEW_SECONDS_DEFAULT
