"""Places for live sandboxes: so many, and who finds none waits in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from remit.fair_queue import FairQueue


class SandboxSlots:
    """One for each session that has a sandbox. Everything happens on the event loop, so no locks."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: set[str] = set()
        self._queue = FairQueue()

    @property
    def waiting(self) -> int:
        """Return how many sessions wait."""
        return len(self._queue)

    def try_take(self, session_id: str) -> bool:
        """Take a place if one is free and nobody waits; return whether there was one."""
        if self._queue or len(self._taken) >= self.most:
            return False
        self._taken.add(session_id)
        return True

    def adopt(self, session_id: str) -> None:
        """Take the place of a sandbox that is there already, from before this process."""
        self._taken.add(session_id)

    async def take(
        self, workspace_id: str, session_id: str, make_room: Callable[[], Awaitable[None]]
    ) -> None:
        """Take a place, in turn; `make_room` asks somebody to leave. Ends with a place or with a
        cancellation."""
        place = self._queue.join(workspace_id, session_id)
        try:
            await make_room()
            await place.turn
        except BaseException:
            if place.was_served:
                self.give_back(session_id)  # it was our turn just when we stopped waiting
            else:
                self._queue.leave(place)
            raise

    def give_back(self, session_id: str) -> None:
        """Give back the place of a sandbox that is gone. A second call changes nothing."""
        self._taken.discard(session_id)
        while self._queue and len(self._taken) < self.most:
            self._taken.add(self._queue.first.stream_id)
            self._queue.serve()
