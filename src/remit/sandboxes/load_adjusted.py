"""Load-adjusted time-outs: what is quick on an idle machine is late on a busy one, and works."""

from __future__ import annotations

import os


def load_adjusted(seconds: float) -> float:
    """`seconds`, times the processes that wanted each core in the last minute."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
