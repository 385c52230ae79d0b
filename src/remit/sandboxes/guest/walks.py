"""Trees under way: each is given a slice of time in turn, so that none keeps the daemon from answering."""

from __future__ import annotations

import time

from . import jsons
from .paths import RefusedRequest

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Generator

    from .control import Control
    from .trees import Manifest

    Walk = Generator[Manifest | None, None, None]

_STEP_SECONDS = 0.02


class Walks:
    """Steps them, and answers when one is through."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._walks: list[tuple[int, Walk]] = []

    @property
    def are_under_way(self) -> bool:
        """Return whether `step` has anything to do."""
        return bool(self._walks)

    def add(self, number: int, walk: Walk) -> None:
        """Begin one; `number` is the request that gets its result."""
        self._walks.append((number, walk))

    def step(self) -> None:
        """Carry every walk on by a slice."""
        for number, walk in list(self._walks):
            until = time.monotonic() + _STEP_SECONDS
            try:
                step = next(walk)
                while step is None and time.monotonic() < until:
                    step = next(walk)
            except RefusedRequest as error:
                self._walks.remove((number, walk))
                self._control.answer(number, {"refused": str(error)})
                continue
            except Exception as error:  # ended by one tree, the daemon would take the whole sandbox along
                self._walks.remove((number, walk))
                self._control.answer(number, {"failed": f"tree: {type(error).__name__}: {error}"})
                continue
            if step is not None:
                self._walks.remove((number, walk))
                self._control.answer(number, {}, jsons.dumps(step.to_wire()))
