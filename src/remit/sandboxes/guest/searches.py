"""Searches that were asked for: few run at once, the others wait their turn within their own time."""

from __future__ import annotations

from . import jsons
from .calls import SEARCH_SECONDS, GuestCall, Program
from .paths import Paths, RefusedRequest

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Work = Callable[[], bytes]

SEARCHES_AT_ONCE = 4
SEARCHES_WAITING_MAX = 64
_SEARCH_BYTES_MAX = 8 << 20


class Searches:
    """The searches that wait."""

    def __init__(self) -> None:
        self._waiting: list[tuple[GuestCall, Work]] = []

    def add(self, number: int, work: Work) -> None:
        """Let it wait. Raises Refused when too many do."""
        if len(self._waiting) >= SEARCHES_WAITING_MAX:
            raise RefusedRequest(
                f"{SEARCHES_WAITING_MAX} searches wait already; ask again when some have ended"
            )
        call = GuestCall("", SEARCH_SECONDS, _SEARCH_BYTES_MAX)
        call.waiters.append(number)
        self._waiting.append((call, work))

    def next(self, programs: Iterable[Program]) -> tuple[GuestCall, Work] | None:
        """Return the search that has waited longest, if one more may run beside these programs."""
        running = sum(1 for program in programs if not program.call.call_id)
        return self._waiting.pop(0) if self._waiting and running < SEARCHES_AT_ONCE else None


def glob_work(paths: Paths, request: dict[str, Any]) -> Work:
    """Make the work that a child does for `glob`."""

    def work() -> bytes:
        from .search import glob  # in the child only: its imports are heavy

        return jsons.dumps(glob(paths, request["pattern"], request["path"], request["limit"]))

    return work


def grep_work(paths: Paths, request: dict[str, Any]) -> Work:
    """Make the work that a child does for `grep`."""

    def work() -> bytes:
        from .search import grep  # in the child only: its imports are heavy

        found = grep(
            paths, request["pattern"], request["path"], request["include"], request["output_bytes_max"]
        )
        return found.encode("utf-8", "replace")

    return work
