"""Violations that the invariant checker finds."""

from __future__ import annotations

from remit.values import Value

RULES = (
    "positions",
    "event_ids",
    "processed_at",
    "fold_equals_served",
    "calls_end",
    "holds_match_calls",
    "holds_closed",
    "accounts_add_up",
    "within_cap",
    "tool_results",
    "tool_order",
    "grants_match",
    "receipt_equals_ledger",
)


class Violation(Value, frozen=True, kw_only=True):
    """One thing that must never be."""

    rule: str
    stream_id: str
    seq: int | None
    message: str
