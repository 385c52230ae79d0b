"""Checks of every `SandboxProvider`. Run all with `run_sandbox_suite`, or each as a test of its own.

A check gets a `Bench`: an open provider and the blob store it reads trees from. It makes and destroys its sandbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import ModuleType

from remit.testing.sandbox_checks import (
    calls,
    files,
    grounds,
    lives,
    processes,
    programs,
    records,
    shared,
    shell,
    trees,
)
from remit.testing.sandbox_checks.given import Bench

SandboxCheck = Callable[[Bench], Awaitable[None]]
MakeBench = Callable[[], AbstractAsyncContextManager[Bench]]


def _checks_of(module: ModuleType) -> list[SandboxCheck]:
    return [value for name, value in vars(module).items() if name.startswith("check_")]


SANDBOX_CHECKS: list[SandboxCheck] = [
    check
    for module in (shell, programs, processes, calls, files, trees, shared, lives, grounds, records)
    for check in _checks_of(module)
]


async def run_sandbox_suite(make_bench: MakeBench) -> None:
    """Run every check on a fresh bench; the first failure is raised with the check's name."""
    for check in SANDBOX_CHECKS:
        try:
            async with make_bench() as bench:
                await check(bench)
        except AssertionError as error:
            raise AssertionError(f"{getattr(check, '__name__', check)}: {error}") from error
