"""Garbage collection of a process that stays."""

from __future__ import annotations

import gc

GARBAGE_THRESHOLDS = (10_000, 20, 20)
"""So many more objects than before are looked through; every 20th time those that survived one look too, every 400th
time all."""


def collect_garbage_seldom() -> None:
    """Collect garbage seldom: a look through everything stops every stream for as long as it takes. What is
    loaded by now stays, and what comes later is seldom in cycles."""
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
