"""Text that comes token by token."""

from __future__ import annotations

APART_MAX = 512
"""Pieces kept apart. Each costs as much memory as fifty letters; joining them all at each would copy the text each time."""


class Pieces:
    """A text that grows by pieces."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        """Append it."""
        self._pieces.append(piece)
        if len(self._pieces) > APART_MAX:
            self._pieces = [self.text()]

    def text(self) -> str:
        """Return all pieces as one text."""
        return "".join(self._pieces)
