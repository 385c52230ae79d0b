"""Old logs load for ever: each golden file folds to the state stored beside it, by any prefix and any split."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.session.folding import fold
from remit.session.moves import next_move
from remit.session.state import SessionState
from remit.session.view import view
from remit.values import EventRow

FOLDER = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("replay_record", FOLDER / "record.py")
assert _spec is not None
assert _spec.loader is not None
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)

GOLDEN = sorted((FOLDER / "golden").glob("session_v*.jsonl"))


def rows_of(path: Path) -> list[EventRow]:
    return [record.decode_row(line) for line in path.read_bytes().splitlines()]


LOGS = {path.stem: rows_of(path) for path in GOLDEN}


@pytest.mark.parametrize("name", LOGS)
def test_a_golden_log_folds_to_its_stored_state(name: str) -> None:
    stored = (FOLDER / "golden" / f"{name}.state.json").read_bytes()
    assert record.encode_state(fold(LOGS[name])) + b"\n" == stored


@pytest.mark.parametrize("name", LOGS)
def test_every_prefix_folds_and_has_a_next_move_and_a_view(name: str) -> None:
    for length in range(1, len(LOGS[name]) + 1):
        state = fold(LOGS[name][:length])
        assert state.seq == length
        next_move(state)
        view(state, [])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", LOGS)
def test_folding_on_from_any_prefix_equals_folding_at_once(name: str, data: st.DataObject) -> None:
    rows = LOGS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    state = SessionState()
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        state = fold(rows[start:end], copy.deepcopy(state))
    assert state == fold(rows)


def test_unknown_types_are_passed_over() -> None:
    rows = next(iter(LOGS.values()))
    later = EventRow(
        workspace_id="w",
        stream_id=rows[0].stream_id,
        seq=len(rows) + 1,
        event_id="sevt_future",
        type="agent.dream",
        visibility="public",
        schema_version=9,
        created_at_us=rows[-1].created_at_us,
        body=b'{"id":"sevt_future","type":"agent.dream"}',
    )
    state = fold([later], fold(rows))
    assert state.seq == len(rows) + 1
