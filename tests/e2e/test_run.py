"""`remit.run`: from a folder to a verified result in one call, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import remit
from remit.errors import LocalFailure

pytestmark = [pytest.mark.slow, pytest.mark.sandbox]

WRITES = {
    "steps": [
        {
            "text": "Writing.",
            "tool_uses": [{"name": "write", "input": {"file_path": "/workspace/a.txt", "content": "b\n"}}],
        },
        {"text": "Done."},
    ]
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "writes.json").write_text(json.dumps(WRITES))
    monkeypatch.setenv("REMIT_SCRIPTED", str(scripts))
    return tmp_path / "data"


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    return folder


def test_a_folder_becomes_a_verified_result(tmp_path: Path, data: Path) -> None:
    finished = remit.run(
        "a.txt says b",
        tokens=100_000,
        folder=folder_of(tmp_path),
        verify="grep -q b a.txt",
        model="scripted/writes",
        out=tmp_path / "out",
        data=data,
    )
    assert finished.is_verified
    assert finished.receipt["remit_id"] == finished.remit["id"]
    assert (tmp_path / "out" / "files" / "a.txt").read_text() == "b\n"
    assert (tmp_path / "input" / "a.txt").read_text() == "a\n"


def test_what_is_asked_beside_the_cost_is_raised_and_nothing_is_left_waiting(
    tmp_path: Path, data: Path
) -> None:
    with pytest.raises(LocalFailure, match="vacuous") as raised:
        remit.run(
            "x", tokens=100_000, folder=folder_of(tmp_path), verify="true", model="scripted/writes", data=data
        )
    assert "despite=" in (raised.value.mend or "")
