"""`remit do --resume` after a process that died late: when its result was written, or its key was not."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from remit.app import load_settings, open_platform
from remit.cli.main import run
from remit.client.client import AsyncClient
from support.fake_api import FakeApi, FakeOpener, verdict


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


async def open_once(data: Path) -> tuple[str, int]:
    """The operator's key of a platform on this folder, and how the API answers to it."""
    settings = load_settings(
        {"REMIT_DATA": str(data), "REMIT_RUNTIME": str(data / "runtime")}, unsafe_local=True
    )
    async with (
        open_platform(settings) as platform,
        AsyncClient.in_process(platform.asgi, api_key=platform.api_key) as client,
    ):
        return platform.api_key, len([one async for one in client.remits.list()])


@pytest.mark.anyio
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"nobodys key"])
async def test_a_key_file_that_is_empty_or_damaged_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """A killed process leaves it empty."""
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_bytes(content)
    key, _ = await open_once(tmp_path)
    assert len(key) > 20
    assert (tmp_path / "key").read_text() == f"{key}\n"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert await open_once(tmp_path) == (key, 0)
