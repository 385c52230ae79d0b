"""Old logs of remits load for ever: each folds to the state beside it, by any prefix, and every prefix has a next step."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from remit.remits.events import AnyEvent, decode_event
from remit.remits.state import fold, session_event_id
from remit.remits.steps import Rest, next_step
from remit.remits.work import read_work

FOLDER = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("replay_record_remits", FOLDER / "record_remits.py")
assert _spec is not None
assert _spec.loader is not None
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)

NAMES = sorted(path.stem for path in (FOLDER / "remits").glob("*.jsonl"))
NEW_IN_TRUST = {"remit.paused", "remit.reopened", "remit.session_granted", "turn.failed", "turn.continued"}


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_log_of_a_remit_folds_to_its_stored_state(name: str) -> None:
    stored = (FOLDER / "remits" / f"{name}.state.json").read_bytes()
    assert record.encode_state(record.read(name)["remit"]) == stored


def test_pauses_and_raises_are_in_the_golden_logs() -> None:
    types = {row.type for name in NAMES for rows in record.read(name).values() for row in rows}
    assert types >= NEW_IN_TRUST


@pytest.mark.parametrize("name", NAMES)
def test_every_prefix_of_both_logs_has_a_next_step_and_the_whole_rests(name: str) -> None:
    rows = record.read(name)
    for length in range(1, len(rows["remit"]) + 1):
        state = fold(rows["remit"][:length])
        half = length // 2
        assert fold(rows["remit"][half:length], fold(rows["remit"][:half])) == state
        event: AnyEvent = decode_event(rows["remit"][length - 1])
        assert event.id == rows["remit"][length - 1].event_id
        resumes = frozenset(session_event_id(resume) for resume in state.resume_ids)
        until = rows["remit"][length - 1].created_at_us
        session = [row for row in rows["session"] if row.created_at_us <= until]
        next_step(state, read_work(session, resumes) if state.is_working else None)
    assert next_step(fold(rows["remit"]), read_work(rows["session"], frozenset())) == Rest(why="ended")
