"""Fair turns among due streams: workspaces take turns, and within one the oldest wake goes first. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Due(NamedTuple):
    """A stream that may be claimed, in the order of one workspace's line."""

    due_us: int
    stream_id: str
    workspace_id: str


def in_turns(
    due: Iterable[Due], *, limit: int, running: Mapping[str, int], each_max: int | None
) -> list[str]:
    """Up to `limit` of them: each next place goes to the workspace with the fewest, those it has `running` counted;
    among equals to the oldest wake. A workspace that has `each_max` gets none."""
    lines: dict[str, list[Due]] = {}
    for one in sorted(due, reverse=True):
        lines.setdefault(one.workspace_id, []).append(one)
    firsts = [(running.get(workspace_id, 0), line.pop()) for workspace_id, line in lines.items()]
    heapq.heapify(firsts)
    chosen: list[str] = []
    while firsts and len(chosen) < limit:
        count, one = heapq.heappop(firsts)
        if each_max is not None and count >= each_max:
            continue
        chosen.append(one.stream_id)
        if line := lines[one.workspace_id]:
            heapq.heappush(firsts, (count + 1, line.pop()))
    return chosen
