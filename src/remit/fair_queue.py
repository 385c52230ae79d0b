"""A queue whose next turn goes first by workspace, then by stream, so that a workspace with a thousand in
line delays another by one."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque


class QueuePlace:
    """A place in line."""

    def __init__(self, workspace_id: str, stream_id: str) -> None:
        self.workspace_id = workspace_id
        self.stream_id = stream_id
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is this one's turn."""
        self.news = asyncio.Event()
        """Something changed that whoever waits here should look at."""

    @property
    def was_served(self) -> bool:
        """Return whether its turn came, also when nobody waits for it any more."""
        return self.turn.done() and not self.turn.cancelled()


class FairQueue:
    """A fair queue. Everything happens on the event loop, so no locks."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, OrderedDict[str, deque[QueuePlace]]] = OrderedDict()
        self._waiting: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._waiting.total()

    @property
    def first(self) -> QueuePlace:
        """Return the place whose turn is next; there is one."""
        streams = next(iter(self._lines.values()))
        return next(iter(streams.values()))[0]

    def waiting_of(self, workspace_id: str) -> int:
        """Count the waiting places of one workspace."""
        return self._waiting[workspace_id]

    def join(self, workspace_id: str, stream_id: str) -> QueuePlace:
        """The last place of that stream's line."""
        place = QueuePlace(workspace_id, stream_id)
        self._lines.setdefault(workspace_id, OrderedDict()).setdefault(stream_id, deque()).append(place)
        self._waiting[workspace_id] += 1
        return place

    def serve(self) -> None:
        """Serve the first place: its workspace goes to the end, and so does the stream within it."""
        place = self.first
        streams = self._lines[place.workspace_id]
        streams[place.stream_id].popleft()
        streams.move_to_end(place.stream_id)
        self._lines.move_to_end(place.workspace_id)
        self._left(place)
        place.turn.set_result(None)

    def leave(self, place: QueuePlace) -> None:
        """Remove a place that no longer waits."""
        self._lines[place.workspace_id][place.stream_id].remove(place)
        self._left(place)

    def _left(self, place: QueuePlace) -> None:
        self._waiting[place.workspace_id] -= 1
        if not self._waiting[place.workspace_id]:
            del self._waiting[place.workspace_id]
        streams = self._lines[place.workspace_id]
        if not streams[place.stream_id]:
            del streams[place.stream_id]
        if not streams:
            del self._lines[place.workspace_id]
