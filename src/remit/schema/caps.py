"""Caps, and a provider's own books, on the wire (docs/budget.md)."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from remit.schema.keys import WorkspaceId
from remit.schema.lists import ListOf
from remit.schema.operation import SMALL_BODY_BYTES, Operation
from remit.schema.remits import TOKENS_MAX, Amounts
from remit.schema.wire import DOLLARS, KEY_ID, Params, whole

Period = Literal["day", "week", "month"]
KeyId = Annotated[str, whole(KEY_ID)]


class CapSet(Params, frozen=True):
    """POST /v1/caps. Without a key: of the whole workspace. Null takes a cap away, what is left out stays."""

    period: Period
    key_id: KeyId | None = None
    usd: Annotated[str, whole(DOLLARS)] | UnsetType | None = UNSET
    tokens: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | UnsetType | None = UNSET
    workspace_id: WorkspaceId | None = None


class Reconcile(Params, frozen=True):
    """POST /v1/reconcile. Shown first: nothing is booked unless `dry_run` is false."""

    content: Annotated[str, msgspec.Meta(min_length=1)]
    dry_run: bool = True
    workspace_id: WorkspaceId | None = None


class Cap(TypedDict):
    """A cap on spending in a period, and what is left of it: dollars as text, or tokens."""

    type: Literal["cap"]
    workspace_id: str
    key_id: str | None
    period: Period
    now: str
    begins_anew_at: str
    unit: Literal["usd", "tokens"]
    cap: str | int
    spent: str | int
    held: str | int
    left: str | int
    stopped: bool


class AssumedAmounts(TypedDict):
    """Dollars as text, and tokens; null where nothing was held."""

    usd: str | None
    tokens: int | None


class Correction(TypedDict):
    """A call whose real cost is known."""

    call_id: str
    stream_id: str
    model: str | None
    started_at: str
    by: str
    assumed: AssumedAmounts
    real: AssumedAmounts


class UnmatchedCall(TypedDict):
    """A call that the export does not tell of."""

    call_id: str
    model: str | None
    started_at: str
    assumed: AssumedAmounts
    why: str


UnmatchedEntry = TypedDict(
    "UnmatchedEntry",
    {
        "request_id": NotRequired[str],
        "model": NotRequired[str],
        "from": NotRequired[str],
        "to": NotRequired[str],
        "why": str,
    },
)
"""A line of the export that is no call of ours."""


class Reconciliation(TypedDict):
    """The corrections that were booked, or would be."""

    type: Literal["reconciliation"]
    dry_run: bool
    matched: int
    booked: int
    difference: Amounts
    corrections: list[Correction]
    calls_without_entry: list[UnmatchedCall]
    entries_without_call: list[UnmatchedEntry]
    entries_without_call_count: int


class CapsOf(Params, frozen=True):
    """The workspace whose caps are listed."""

    workspace_id: str | None = None


SET = Operation(
    "POST",
    "/v1/caps",
    "Set what a key or a workspace may spend per period",
    body=CapSet,
    answer=ListOf[Cap],
    scope="operator",
    body_bytes_max=SMALL_BODY_BYTES,
)
LIST = Operation(
    "GET",
    "/v1/caps",
    "Caps, and what is left of them",
    query=CapsOf,
    answer=ListOf[Cap],
    scope="read_or_operator",
)
RECONCILE = Operation(
    "POST",
    "/v1/reconcile",
    "Match a provider's own export with calls whose cost was assumed, and book it",
    body=Reconcile,
    answer=Reconciliation,
    scope="operator",
    is_long=True,
)
