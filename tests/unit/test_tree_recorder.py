"""What a recorder took of the machine is given back when it cannot be made."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from remit.sandboxes.recorder import TreeRecorder
from support.ordinary_user import as_nobody, given_to_nobody


def test_a_recorder_that_cannot_be_made_keeps_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    for number in range(20):
        before = len([*Path("/proc/self/fd").iterdir()]), threading.active_count()
        with pytest.raises(OSError, match="gone"):
            TreeRecorder(tmp_path / f"gone{number}")
        assert (len([*Path("/proc/self/fd").iterdir()]), threading.active_count()) == before


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o644])
def test_folders_that_shut_their_owner_out_are_recorded_like_others(
    tmp_path_factory: pytest.TempPathFactory, mode: int
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for above in (folder, *list(folder.parents)[:3]):
        above.chmod(above.stat().st_mode | 0o711)
    (folder / "d/sub").mkdir(parents=True)
    for name in ("d/a", "d/sub/b", "c"):
        (folder / name).write_text("x")
    given_to_nobody(folder)
    for name in ("d/sub", "d"):
        (folder / name).chmod(mode)

    def record() -> list[str]:
        recorder = TreeRecorder(folder)
        (folder / "c").write_text("y")
        return list(recorder.take().changed)

    assert as_nobody(record, list[str]) == ["c"]
    assert [(folder / name).stat().st_mode & 0o777 for name in ("d", "d/sub")] == [mode, mode]
