"""The disk of the fault matrix keeps what was synced, and can lose the rest."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from remit.stores.sqlite.connection import open_writer
from support.crash_disk import CrashDisk

ROWS = 20


def written(folder: Path, *, synchronous: str) -> CrashDisk:
    """A disk whose database has rows, each committed by itself; its process is about to die."""
    disk = CrashDisk(folder / "disk_0")
    connection = open_writer(disk.folder / "some.db", vfs=disk.name)
    connection.execute("CREATE TABLE some (number INTEGER)")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    for number in range(ROWS):
        connection.execute("INSERT INTO some VALUES (?)", (number,))
    disk.die()
    with suppress(apsw.IOError):  # it tries to fold the log into the file
        connection.close()
    return disk


def left(disk: CrashDisk, power_loss: random.Random | None) -> list[int]:
    """The rows that a new process finds."""
    survivor = disk.survivor(power_loss)
    connection = open_writer(survivor.folder / "some.db", vfs=survivor.name)
    try:
        return [int(number) for (number,) in connection.execute("SELECT number FROM some ORDER BY number")]
    finally:
        connection.close()
        survivor.unregister()
        disk.unregister()


@pytest.mark.parametrize("seed", range(10))
def test_what_was_synced_survives_a_power_loss(seed: int, tmp_path: Path) -> None:
    assert left(written(tmp_path, synchronous="FULL"), random.Random(seed)) == list(range(ROWS))


def test_what_was_written_survives_the_death_of_a_process(tmp_path: Path) -> None:
    assert left(written(tmp_path, synchronous="OFF"), None) == list(range(ROWS))


def test_what_was_never_synced_may_be_lost_in_a_power_loss(tmp_path: Path) -> None:
    found: list[int] = []
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found.append(len(left(written(folder, synchronous="OFF"), random.Random(seed))))
    assert min(found) < ROWS


def test_a_full_disk_and_a_failing_sync_are_errors(tmp_path: Path) -> None:
    disk = CrashDisk(tmp_path / "disk_0")
    connection = open_writer(disk.folder / "some.db", vfs=disk.name)
    connection.execute("CREATE TABLE some (number INTEGER)")
    disk.is_full = True
    with pytest.raises(apsw.FullError):
        connection.execute("INSERT INTO some VALUES (1)")
    disk.is_full, disk.fails_to_sync = False, True
    with pytest.raises(apsw.IOError):
        connection.execute("INSERT INTO some VALUES (2)")
    disk.fails_to_sync = False
    connection.close()
    disk.unregister()
