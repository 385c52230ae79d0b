"""A text of many pieces is whole, and takes about the room of its letters."""

from __future__ import annotations

import tracemalloc

from remit.models.drivers.pieces import Pieces


def test_a_text_of_many_pieces_takes_about_the_room_of_its_letters() -> None:
    pieces = Pieces()
    tracemalloc.start()
    for number in range(100_000):
        pieces.add(f"{number:05} ")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert pieces.text() == "".join(f"{number:05} " for number in range(100_000))
    assert held < 2 * len(pieces.text())
