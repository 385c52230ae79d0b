"""What is counted, how fast it may grow with each deleted session, and the line through the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look at the server."""

    deleted: int
    """Sessions that were gone by then."""
    counts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One thing that is counted."""

    unit: str
    per_session_max: float
    """Of its slope; above it something stays behind for every session."""
    most: float = math.inf
    """Of its last value: for what grows to a size of its own and is then used again."""

    def is_met(self, samples: Sequence[Sample], name: str) -> bool:
        """Whether it grows no faster, and is no larger."""
        return slope(samples, name) <= self.per_session_max and samples[-1].counts[name] <= self.most


MEASURES: Mapping[str, Measure] = {
    "objects": Measure(unit="", per_session_max=0.5),
    "memory": Measure(unit="bytes", per_session_max=600),
    "descriptors": Measure(unit="", per_session_max=0.005),
    "processes": Measure(unit="", per_session_max=0.005),
    "threads": Measure(unit="", per_session_max=0.005),
    # What it cost stays (its accounts), and that there was one: an id is never given again.
    "database": Measure(unit="bytes", per_session_max=700),
    "write-ahead logs": Measure(unit="bytes", per_session_max=math.inf, most=2 * (65 << 20)),
    # Bytes of what is deleted stay for a day, and this is over before.
    "blobs": Measure(unit="bytes", per_session_max=math.inf, most=4 << 30),
    "other files": Measure(unit="bytes", per_session_max=100),
}


def slope(samples: Sequence[Sample], name: str) -> float:
    """Growth of what has this name for each deleted session, by least squares; 0.0 with fewer than three samples."""
    points = [(float(sample.deleted), sample.counts[name]) for sample in samples if name in sample.counts]
    if len(points) < 3:
        return 0.0
    middle_x, middle_y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
