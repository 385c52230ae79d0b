"""Ids: a prefix and 128 bits, time-ordered, from injected sources of time and randomness."""

from __future__ import annotations

import os
from collections.abc import Callable

from remit.clock import Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


class Ids:
    """Makes ids such as `sesn_01k…`: 48 bits of milliseconds, then 80 random bits, in 26 characters.

    Two ids of the same millisecond are ordered too: the random part then counts up.
    """

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._last = 0

    def new(self, prefix: str) -> str:
        """Return a new id with this prefix."""
        now_ms = self._clock.now_us() // 1000
        if now_ms <= self._last >> 80:
            self._last += 1
        else:
            self._last = now_ms << 80 | int.from_bytes(self._random_bytes(10), "big")
        return f"{prefix}_{_encode(self._last)}"


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
