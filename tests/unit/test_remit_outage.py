"""Which failures pause a remit and for how long, which wait for people, and which end it: the table, and the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.config import SETTINGS
from remit.errors import CompactionLimitReached, ModelCallFailed, ModelUnavailable, RemitError, Unpriced
from remit.models.http.endpoint import ModelEndpoint, ModelTimeouts
from remit.models.http.failures import error_failure, status_failure
from remit.models.http.transport import Cause, TransportFailed
from remit.orchestrator.session_errors import turn_failure
from remit.remits import outage
from remit.remits.outage import (
    KEYS,
    PAID_IN_A_ROW_MAX,
    PAUSE_SECONDS_FIRST,
    PAUSE_SECONDS_MAX,
    TREATMENTS,
    Treatment,
    mend,
    pause_seconds,
)
from remit.remits.work import read_work
from remit.streams.children import ChildFailure
from remit.values import EventRow, JsonObject

ENDPOINT = ModelEndpoint(name="server", base_url="http://127.0.0.1:9", headers={}, timeouts=ModelTimeouts())


def failure_of(error: RemitError) -> ChildFailure:
    """As the session's log carries it to the remit."""
    failed = turn_failure(error)
    return ChildFailure(event_id="sevt_1", reason=failed.reason)


def status(code: int, kind: str = "") -> ModelCallFailed:
    body = msgspec.json.encode({"error": {"type": kind, "message": "said"}})
    return status_failure("server", code, body, {})


def broken(cause: Cause) -> ModelCallFailed:
    return ENDPOINT._broken(TransportFailed(cause), silence_seconds=120)  # pyright: ignore[reportPrivateUsage]


BY_STATUS: dict[Treatment, Sequence[int]] = {
    "again": (408, 409, 429, 500, 502, 503, 504, 520, 522, 529),
    "people": (401, 402, 403),
    "end": (400, 404, 405, 413, 415, 422),
}
CASES: list[tuple[RemitError, Treatment]] = [
    *[(status(code), treatment) for treatment, codes in BY_STATUS.items() for code in codes],
    (status(429, "insufficient_quota"), "people"),
    (status(400, "billing_error"), "people"),
    (broken("unreachable"), "again"),
    (broken("silent"), "again"),
    (broken("late"), "again"),
    (broken("broken"), "again"),
    (broken("unusable"), "end"),
    (error_failure(ENDPOINT, {"type": "overloaded_error", "message": ""}, is_begun=True), "again"),
    (error_failure(ENDPOINT, {"type": "rate_limit_error", "message": ""}, is_begun=False), "again"),
    (error_failure(ENDPOINT, {"type": "api_error", "message": ""}, is_begun=False), "again"),
    (error_failure(ENDPOINT, {"type": "invalid_request_error", "message": ""}, is_begun=False), "end"),
    (ENDPOINT.failure("sent an event without an end", reason="garbage", billed="unknown"), "again"),
    (ModelUnavailable("no key"), "people"),
    (Unpriced("no price"), "people"),
    (CompactionLimitReached("too long"), "end"),
]


@pytest.mark.parametrize(("error", "treatment"), CASES, ids=lambda value: str(value)[:60])
def test_what_fails_a_turn_pauses_waits_for_people_or_ends(error: RemitError, treatment: Treatment) -> None:
    assert outage.treatment(failure_of(error)) == treatment


def test_every_broken_connection_is_in_the_table() -> None:
    assert {broken(cause).reason for cause in get_args(Cause)} <= set(TREATMENTS)


def test_a_refused_key_is_said_with_its_variable() -> None:
    variables = {name for setting in SETTINGS.values() for name in setting.variables}
    for provider in ("anthropic", "openai", "local"):
        words = mend(ChildFailure(event_id="e", reason="authentication", provider=provider))
        assert words is not None
        named = {word.strip("()") for word in words.split() if word.strip("()").endswith("_API_KEY")}
        assert named
        assert named <= variables
    assert all(
        mend(ChildFailure(event_id="e", reason="authentication", provider=name)) for name in (*KEYS, None)
    )


@given(
    in_a_row=st.integers(1, 10_000),
    asked=st.none() | st.floats(0, 1e7),
    reason=st.sampled_from([name for name, treatment in TREATMENTS.items() if treatment == "again"]),
)
def test_a_pause_is_between_half_a_minute_and_a_quarter_of_an_hour(
    in_a_row: int, asked: float | None, reason: str
) -> None:
    failure = ChildFailure(event_id="e", reason=reason, retry_after_seconds=asked, in_a_row=in_a_row)
    seconds = pause_seconds(failure)
    assert seconds is not None
    assert PAUSE_SECONDS_FIRST <= seconds <= PAUSE_SECONDS_MAX
    later = pause_seconds(msgspec.structs.replace(failure, in_a_row=in_a_row + 1))
    assert later is not None
    assert later >= seconds
    assert asked is None or seconds >= min(asked, PAUSE_SECONDS_MAX)


def test_pauses_grow_twofold() -> None:
    failures = [ChildFailure(event_id="e", reason="unavailable", in_a_row=n) for n in range(1, 8)]
    assert [pause_seconds(one) for one in failures] == [30, 60, 120, 240, 480, 900, 900]


def test_attempts_that_cost_are_not_made_for_ever() -> None:
    paid = ChildFailure(event_id="e", reason="timeout", in_a_row=9, paid_in_a_row=PAID_IN_A_ROW_MAX)
    assert (outage.treatment(paid), pause_seconds(paid)) == ("people", None)
    assert "may cost" in (mend(paid) or "")
    free = msgspec.structs.replace(paid, in_a_row=500, paid_in_a_row=0)
    assert pause_seconds(free) == PAUSE_SECONDS_MAX


@given(st.lists(st.sampled_from(["answered", "failed", "failed and paid", "refused"]), max_size=25))
def test_what_failed_in_a_row_is_counted_from_the_last_answer(course: list[str]) -> None:
    rows: list[EventRow] = []
    in_a_row = paid = 0

    def add(type: str, body: JsonObject) -> None:
        rows.append(
            EventRow(
                workspace_id="w",
                stream_id="sesn_1",
                seq=len(rows) + 1,
                event_id=f"sevt_{len(rows)}",
                type=type,
                visibility="private",
                schema_version=1,
                created_at_us=len(rows),
                body=msgspec.json.encode(body),
            )
        )

    for what in course:
        call_id = f"call_{len(rows)}"
        add("model.started", {"call_id": call_id, "provider": "anthropic"})
        if what == "answered":
            add("model.ended", {"call_id": call_id, "content": [], "stop_reason": "end_turn"})
            in_a_row = paid = 0
            continue
        is_paid = what == "failed and paid"
        ended: JsonObject = {"call_id": call_id, "error_reason": "timeout", "is_assumed": is_paid}
        add("model.ended", {**ended, "cost_nano_usd": None})  # a budget of tokens knows no cost
        if what != "refused":
            add("turn.failed", {"reason": "timeout", "message": "m", "retry_after_seconds": None})
            in_a_row, paid = in_a_row + 1, paid + is_paid
    failure = read_work(rows, frozenset()).failure
    if failure is None:
        assert not any(what.startswith("failed") for what in course)
    elif course[-1] != "refused" and course[-1] != "answered":
        assert (failure.in_a_row, failure.paid_in_a_row, failure.provider) == (in_a_row, paid, "anthropic")
