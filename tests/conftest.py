"""Fixtures that many tests share."""

from __future__ import annotations

import pytest

from remit.testing.clock import FakeClock
from remit.values import Principal


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes only by `clock.advance`."""
    return FakeClock()


@pytest.fixture
def principal() -> Principal:
    """Somebody in workspace one."""
    return Principal(workspace_id="wrkspc_one", actor="apikey_one")


@pytest.fixture
def stranger() -> Principal:
    """Somebody in another workspace."""
    return Principal(workspace_id="wrkspc_two", actor="apikey_two")
