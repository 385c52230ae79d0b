"""`remit do --resume` after a process that died late: when its result was written, or its key was not."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from fake_api import FakeApi, FakeOpener, verdict
from remit.cli.main import run


async def end_well(api: FakeApi) -> None:
    api.end(status="satisfied", verified=True, verdicts=[verdict("pytest -q", passed=True)])


def test_a_resumed_remit_finds_its_own_result_in_the_out_folder_and_writes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    api = FakeApi(work=end_well)
    opener = FakeOpener(api, tmp_path)
    out = ("--json", "--out", str(tmp_path / "result"))
    assert run(["do", "it", "--verify", "pytest -q", "--budget", "2", *out], opener) == 0
    assert run(["do", "--resume", api.remit["id"], *out], opener) == 0
    (tmp_path / "result" / "receipt.json").write_text('{"remit_id": "remit_another"}')
    assert run(["do", "--resume", api.remit["id"], *out], opener) == 2
