"""Caps, and a provider's own books, on the wire: what callers send. What is answered is in docs/budget.md."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.keys import WorkspaceId
from remit.schema.remits import TOKENS_MAX
from remit.schema.wire import DOLLARS, KEY_ID, Params, whole

KeyId = Annotated[str, whole(KEY_ID)]


class CapSet(Params, frozen=True):
    """POST /v1/caps. Without a key: of the whole workspace. Null takes a cap away, what is left out stays."""

    period: Literal["day", "week", "month"]
    key_id: KeyId | None = None
    usd: Annotated[str, whole(DOLLARS)] | UnsetType | None = UNSET
    tokens: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | UnsetType | None = UNSET
    workspace_id: WorkspaceId | None = None


class Reconcile(Params, frozen=True):
    """POST /v1/reconcile. Shown first: nothing is booked unless `dry_run` is false."""

    content: Annotated[str, msgspec.Meta(min_length=1)]
    dry_run: bool = True
    workspace_id: WorkspaceId | None = None
