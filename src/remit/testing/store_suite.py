"""Checks of every `SessionStore`. Run all with `run_store_suite`, or each as a test of its own.

@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_my_store(check):
    await check(make_my_store)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType

from remit.testing.store_checks import appends, leases, ledger, reads
from remit.testing.store_checks.given import MakeStore

StoreCheck = Callable[[MakeStore], Awaitable[None]]


def _checks_of(module: ModuleType) -> list[StoreCheck]:
    return [value for name, value in vars(module).items() if name.startswith("check_")]


STORE_CHECKS: list[StoreCheck] = [
    *_checks_of(appends),
    *_checks_of(reads),
    *_checks_of(leases),
    *_checks_of(ledger),
]


async def run_store_suite(make_store: MakeStore) -> None:
    """Run every check on a fresh store; the first failure is raised with the check's name."""
    for check in STORE_CHECKS:
        try:
            await check(make_store)
        except AssertionError as error:
            raise AssertionError(f"{check.__name__}: {error}") from error
