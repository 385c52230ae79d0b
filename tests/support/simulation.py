"""An event loop in which waiting takes no time: what sleeps for an hour is woken at once, an hour later by every clock.

The loop's time stands still while anything can run; when nothing can, it moves to the next timer. So a test with leases,
back-offs and idle time-outs takes the time of its work alone, and the same program with the same seed does the same
things in the same order. Work outside the loop (threads, child processes) is waited for in real time. When nothing can
run, nothing is outside and no timer is set, nothing will ever happen again: that is raised as `Stuck` instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

START_US = 1_800_000_000_000_000
"""When simulated time begins."""
OUTSIDE_SECONDS_MAX = 60.0
"""Of real time in which nothing comes back from outside the loop before it counts as stuck."""
_TASKS_NAMED_MAX = 12
_LINES_NAMED_MAX = 4

T = TypeVar("T")


class Stuck(Exception):
    """Nothing can happen any more, or too much has, and the work is not done. Names the tasks that wait."""


class _Selector(selectors.DefaultSelector):
    """Asks the loop what waiting means."""

    def __init__(self) -> None:
        super().__init__()
        self.wait: Callable[[float | None], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        self.wait(timeout)
        return super().select(0)

    def select_really(self, timeout: float) -> bool:
        """Whether something came within this much real time."""
        return bool(super().select(timeout))


class SimulatedLoop(asyncio.SelectorEventLoop):
    """See the module. `moves_max` bounds how often time may move, `seconds_max` how far."""

    def __init__(self, *, moves_max: int = 100_000, seconds_max: float = 1e9) -> None:
        self._moment = 0.0
        self._moves_left = moves_max
        self._seconds_max = seconds_max
        self._outside = 0
        self.threads: CapacityLimiter | None = None
        """Of anyio's threads, once there are any."""
        self._processes: list[asyncio.SubprocessTransport] = []
        self._simulated = _Selector()
        super().__init__(self._simulated)
        self._simulated.wait = self._wait

    def time(self) -> float:
        return self._moment

    @contextmanager
    def outside(self) -> Generator[None]:
        """Around an await that something outside the loop will end: time stands still meanwhile."""
        self._outside += 1
        try:
            yield
        finally:
            self._outside -= 1

    def run_in_executor(
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:  # Any: asyncio's own
        future = super().run_in_executor(executor, func, *args)
        self._outside += 1
        future.add_done_callback(self._came_back)
        return future

    async def subprocess_exec(self, *args: Any, **named: Any) -> Any:  # Any: asyncio's own
        with self.outside():
            transport, protocol = await super().subprocess_exec(*args, **named)
        self._processes.append(transport)
        return transport, protocol

    def _came_back(self, _: asyncio.Future[Any]) -> None:
        self._outside -= 1

    def _is_outside(self) -> bool:
        self._processes = [one for one in self._processes if one.get_returncode() is None]
        in_threads = self.threads is not None and self.threads.borrowed_tokens > 0
        return self._outside > 0 or bool(self._processes) or in_threads

    def _wait(self, timeout: float | None) -> None:
        if self._is_outside():
            if not self._simulated.select_really(OUTSIDE_SECONDS_MAX):
                raise Stuck(f"nothing came back from outside. {self._describe()}")
            return
        if timeout is None:
            raise Stuck(f"nothing will ever happen again. {self._describe()}")
        self._moment += timeout
        self._moves_left -= 1
        if self._moves_left < 0 or self._moment > self._seconds_max:
            raise Stuck(f"not done after {self._moment:.0f} simulated seconds. {self._describe()}")

    def _describe(self) -> str:
        waiting = sorted(_where(task) for task in asyncio.all_tasks(self))
        return "Waiting: " + "; ".join(waiting[:_TASKS_NAMED_MAX])


def _where(task: asyncio.Task[Any]) -> str:
    """The lines a task waits at, the innermost last."""
    lines: list[str] = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)) is not None:
        lines.append(f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    return " > ".join(lines[-_LINES_NAMED_MAX:]) or task.get_name()


class SimulatedClock:
    """`Clock` of the loop it is made in, also for threads. The wall clock may jump; the monotonic one never does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jumped_us = 0

    def now_us(self) -> int:
        return START_US + round(self.monotonic() * 1_000_000) + self._jumped_us

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._jumped_us += round(seconds * 1_000_000)


def simulate(work: Coroutine[Any, Any, T], *, moves_max: int = 100_000, seconds_max: float = 1e9) -> T:
    """Run this in a simulated loop of its own. Raises what it raises, and Stuck."""
    loop = SimulatedLoop(moves_max=moves_max, seconds_max=seconds_max)

    async def run() -> T:
        loop.threads = to_thread.current_default_thread_limiter()
        return await work

    try:
        return loop.run_until_complete(run())
    finally:
        _close(loop)


def _close(loop: SimulatedLoop) -> None:
    """Whoever is still there is told to end, once; who does not is left."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=5))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except Stuck:
        pass  # the first one is raised, or the work was done
    finally:
        asyncio.set_event_loop(None)
        loop.close()
