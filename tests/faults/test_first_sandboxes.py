"""After a death several remits go on at once: their sandboxes are the first ones of the new process, all together."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from remit.sandboxes.folders import RuntimeFolder

THREADS = 8


def test_a_runtime_folder_that_is_opened_by_many_at_once_is_made_once(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / str(number)
        folder = RuntimeFolder(path, "server_1")
        barrier = threading.Barrier(THREADS)

        def open_together(folder: RuntimeFolder = folder, barrier: threading.Barrier = barrier) -> Path:
            barrier.wait(5)
            return folder.open()

        with ThreadPoolExecutor(THREADS) as pool:
            opened = list(pool.map(lambda _, one=open_together: one(), range(THREADS)))
        assert set(opened) == {path / "server_1"}
        assert [entry.name for entry in path.iterdir()] == ["server_1"]
        folder.close()
        assert not path.exists()
