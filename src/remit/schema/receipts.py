"""The receipt of a remit on the wire (docs/api.md, section 4)."""

from __future__ import annotations

from typing import Literal, TypedDict

from remit.schema.operation import Operation
from remit.schema.remits import Amounts, Caps, RemitAgent, RemitStatus, Setup, Verdict
from remit.schema.sessions import Account
from remit.schema.wire import JsonMap


class ByUnit(TypedDict):
    """Nano-dollars and tokens; null where nothing was held in it."""

    nano_usd: int | None
    tokens: int | None


class ReceiptCall(TypedDict):
    """A model call, or a tool use that costs, with what was held for it and what it cost."""

    call_id: str
    session_id: str
    number: int | None
    model: str | None
    tool: str | None
    served_model: str | None
    priced_as: str | None
    provider: str | None
    purpose: str | None
    held: ByUnit
    settled: ByUnit
    state: Literal["open", "assumed", "settled"]
    error_reason: str | None
    usage: JsonMap | None
    overrun: bool
    started_at: str | None
    ended_at: str | None


class ReceiptTool(TypedDict):
    """A tool use and how long it took."""

    tool_use_id: str
    name: str | None
    duration_seconds: float | None
    is_error: bool
    may_have_run: bool


class ReceiptVerification(TypedDict):
    """Verdicts of an iteration; of the run on the input where that is null."""

    iteration: int | None
    verdicts: list[Verdict]


class ReceiptPause(TypedDict):
    """A time in which no model answered."""

    at: str | None
    until: str | None
    reason: str
    message: str
    wake_at: str | None


class ReceiptGrant(TypedDict):
    """One side of a grant."""

    stream_id: str
    grant_id: str
    unit: str
    purpose: str
    direction: Literal["out", "in"]
    amount: int
    state: Literal["open", "closed"]
    spent: int | None
    child_stream_id: str | None


class ReceiptSandbox(TypedDict):
    """A sandbox in which work was done."""

    session_id: str
    sandbox_id: str | None
    provider: str | None
    isolation: str | None
    not_held: list[str] | None
    image_digest: str | None
    tree_digest: str | None
    network: str | JsonMap | None
    packages_digest: str | None


class SpentExact(TypedDict):
    """The same sums in the ledger's units."""

    nano_usd: int
    tokens: int


class Receipt(TypedDict):
    """The receipt: what was spent on what, with the evidence."""

    type: Literal["receipt"]
    remit_id: str
    status: RemitStatus
    completed: bool
    verified: bool
    rests_on_work: list[str]
    agent: RemitAgent
    image_digest: str | None
    setup: Setup | None
    budget: Caps
    spent: Amounts
    held: Amounts
    spent_exact: SpentExact
    accounts: list[Account]
    calls: list[ReceiptCall]
    tools: list[ReceiptTool]
    verifications: list[ReceiptVerification]
    pauses: list[ReceiptPause]
    grants: list[ReceiptGrant]
    sandboxes: list[ReceiptSandbox]
    prices: dict[str, JsonMap | None]


RECEIPT = Operation(
    "GET",
    "/v1/remits/{remit_id}/receipt",
    "Every call, hold and settlement",
    answer=Receipt,
    scope="read_one",
)
