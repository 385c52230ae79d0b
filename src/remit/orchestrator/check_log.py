"""Rules about one log: positions, ids, times, tools. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec

from remit.orchestrator.violations import Violation
from remit.schema.tool_kinds import PLATFORM_RESULT_TYPES, RESULT_TYPES, USE_TYPES, answered_use
from remit.values import EventRow, JsonObject, StreamHead


def decode(row: EventRow) -> JsonObject:
    """The body of a row."""
    return cast("JsonObject", msgspec.json.decode(row.body))


def check_log(rows: Sequence[EventRow], head: StreamHead, *, is_live: bool) -> list[Violation]:
    """List all violations that can be seen in the rows alone."""
    return [
        *_check_positions(rows, head, is_live=is_live),
        *_check_ids(rows),
        *_check_times(rows),
        *_check_tools(rows, is_live=is_live),
    ]


def _check_positions(rows: Sequence[EventRow], head: StreamHead, *, is_live: bool) -> Iterator[Violation]:
    for expected, row in enumerate(rows, start=1):
        if row.seq != expected:
            yield _violation("positions", row, f"position {expected} is missing: the next row is {row.seq}")
            return
    if head.seq != len(rows) and not (is_live and len(rows) > head.seq):
        yield Violation(
            rule="positions",
            stream_id=head.stream_id,
            seq=head.seq,
            message=f"the head is at {head.seq}, the log has {len(rows)} rows",
        )


def _check_ids(rows: Sequence[EventRow]) -> Iterator[Violation]:
    seen: dict[str, int] = {}
    for row in rows:
        if row.visibility != "public":
            continue
        if row.event_id in seen:
            first = seen[row.event_id]
            yield _violation("event_ids", row, f"event id {row.event_id!r} is also at position {first}")
        seen[row.event_id] = row.seq


def _check_times(rows: Sequence[EventRow]) -> Iterator[Violation]:
    last = ""
    for row in rows:
        if row.visibility != "public":
            continue
        processed_at = decode(row).get("processed_at")
        if not isinstance(processed_at, str):
            yield _violation("processed_at", row, f"public {row.type} {row.event_id!r} has no processed_at")
            continue
        if processed_at < last:
            yield _violation("processed_at", row, f"processed_at goes back from {last} to {processed_at}")
        last = max(last, processed_at)


def _check_tools(rows: Sequence[EventRow], *, is_live: bool) -> Iterator[Violation]:
    uses: dict[str, EventRow] = {}
    started: dict[str, EventRow] = {}
    results: Counter[str] = Counter()
    for row in rows:
        if row.type in USE_TYPES:
            uses[row.event_id] = row
        elif row.type == "tool.started":
            use_id = str(decode(row)["tool_use_id"])
            yield from _check_start(row, use_id, uses, started, results)
            started[use_id] = row
        elif row.type in RESULT_TYPES and row.visibility == "public":
            body = decode(row)
            use_id = answered_use(body)
            results[use_id] += 1
            if use_id not in uses:
                # A late answer to a custom tool use is accepted and has no effect; a result of ours always has a use.
                if row.type in PLATFORM_RESULT_TYPES:
                    yield _violation("tool_results", row, f"a result for {use_id!r}, which nobody asked for")
            elif results[use_id] == 2 and row.type in PLATFORM_RESULT_TYPES:
                yield _violation("tool_results", row, f"tool use {use_id!r} has more than one result")
    if is_live or _waits_for_answers(rows):
        return
    for use_id, row in uses.items():
        if results[use_id] == 0:
            yield _violation(
                "tool_results", row, f"tool use {use_id!r} has neither a result nor `may_have_run`"
            )


def _check_start(
    row: EventRow,
    use_id: str,
    uses: dict[str, EventRow],
    started: dict[str, EventRow],
    results: Counter[str],
) -> Iterator[Violation]:
    if use_id not in uses:
        yield _violation("tool_order", row, f"tool.started of {use_id!r}, which nobody asked for")
    if use_id in started:
        yield _violation("tool_order", row, f"tool use {use_id!r} was started twice")
    if results[use_id]:
        yield _violation("tool_order", row, f"tool use {use_id!r} was started after it had a result")


def _waits_for_answers(rows: Sequence[EventRow]) -> bool:
    """The last status is idle because a person or a client must answer, or because the budget is reached."""
    for row in reversed(rows):
        if row.type == "session.status_idle":
            reason = decode(row).get("stop_reason")
            return isinstance(reason, dict) and reason.get("type") in ("requires_action", "budget_reached")
        if row.type == "session.status_running":
            return False
    return False


def _violation(rule: str, row: EventRow, message: str) -> Violation:
    return Violation(rule=rule, stream_id=row.stream_id, seq=row.seq, message=message)
