"""Old logs of deployments load for ever: each folds to the state beside it, by any prefix, and every prefix has a next step."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from remit.deployments.state import DeploymentState, fold
from remit.deployments.steps import Rest, next_step

FOLDER = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("replay_record_deployments", FOLDER / "record_deployments.py")
assert _spec is not None
assert _spec.loader is not None
record = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(record)

NAMES = sorted(path.stem for path in (FOLDER / "deployments").glob("*.jsonl"))


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_log_of_a_deployment_folds_to_its_stored_state(name: str) -> None:
    stored = (FOLDER / "deployments" / f"{name}.state.json").read_bytes()
    assert record.encode_state(record.read(name)) == stored


@pytest.mark.parametrize("name", NAMES)
def test_every_prefix_has_a_next_step_and_the_whole_rests(name: str) -> None:
    rows = record.read(name)
    for length in range(1, len(rows) + 1):
        state = fold(rows[:length], DeploymentState())
        half = length // 2
        assert fold(rows[half:length], fold(rows[:half], DeploymentState())) == state
        next_step(state, rows[0].stream_id, rows[length - 1].created_at_us)
    whole = fold(rows, DeploymentState())
    assert next_step(whole, rows[0].stream_id, rows[-1].created_at_us) == Rest()
    assert {row.type for row in rows} >= {"deployment.paused", "deployment_run.failed", "deployment.unpaused"}
