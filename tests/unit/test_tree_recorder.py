"""What a recorder took of the machine is given back when it cannot be made."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from remit.sandboxes.recorder import TreeRecorder


def test_a_recorder_that_cannot_be_made_keeps_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    for number in range(20):
        before = len([*Path("/proc/self/fd").iterdir()]), threading.active_count()
        with pytest.raises(OSError, match="gone"):
            TreeRecorder(tmp_path / f"gone{number}")
        assert (len([*Path("/proc/self/fd").iterdir()]), threading.active_count()) == before
