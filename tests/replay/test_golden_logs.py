"""Old logs load for ever: each golden file folds to the state stored beside it, by any prefix and any split."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.session.checkpoints import FOLD_VERSION, decode, encode, is_due
from remit.session.folding import fold
from remit.session.history import Forgotten, History
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
        view(state, ())


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


@pytest.mark.parametrize("name", LOGS)
def test_a_fold_goes_on_from_any_checkpoint(name: str) -> None:
    rows = LOGS[name]
    whole = fold(rows)
    for length in range(1, len(rows) + 1):
        stored = encode(fold(rows[:length]))
        assert decode(stored, is_whole=True) == fold(rows[:length])
        assert fold(rows[length:], decode(stored, is_whole=True)) == whole


@pytest.mark.parametrize("name", LOGS)
def test_without_its_history_a_state_is_the_same_and_small(name: str) -> None:
    rows = LOGS[name]
    whole, half = fold(rows), encode(fold(rows[: len(rows) // 2]))
    for start in (None, half):
        thin = decode(start, is_whole=False)
        fold(rows[thin.seq :], thin)
        assert isinstance(thin.history, Forgotten)
        assert thin.history.messages == []
        thin.history, thin.bytes_at_last_call = History(), 0
        assert thin == dataclasses.replace(whole, history=History(), bytes_at_last_call=0)


def test_a_checkpoint_of_another_version_is_not_used() -> None:
    stored = encode(fold(next(iter(LOGS.values()))))
    other = msgspec.structs.replace(stored, version=FOLD_VERSION + 1)
    assert decode(other, is_whole=True) == SessionState()


def test_what_a_fold_derives_changes_only_with_its_version() -> None:
    """Else the folds that stores keep would go on from something else. `record.py` writes the line anew."""
    assert (FOLDER / "golden" / "fold_version.txt").read_text() == record.fold_version_line()


def test_checkpoints_stay_in_proportion_to_the_log() -> None:
    stored, count, rows_written = 0, 0, 0
    for seq in range(1, 20_001):
        if is_due(seq, stored):
            stored, count, rows_written = seq, count + 1, rows_written + seq
    assert stored > 20_000 * 7 // 8
    assert rows_written < 10 * 20_000, count
