"""Fixtures that many tests share.

| I want to test…                                    | use…                                                               |
|----------------------------------------------------|--------------------------------------------------------------------|
| pure code: a fold, a next step, a parser           | the function itself, in tests/unit                                 |
| what a user of the API sees, agents at work        | `api.running.running` (the official SDK), `api.whole.whole_platform` |
| a route, with the worker's part done by hand       | the fixture `world` of tests/api (`api.world.World`)                |
| model calls through the gateway, real protocols    | `api.gateway_world.gateway_world`                                  |
| what sessions or remits write in their logs        | `support.session_bench.SessionBench`, `support.remit_bench.RemitBench` |
| programs of their own before it, over a socket     | `remit.testing.platform.platform(size="http")`                     |
| `remit up` itself: started, signalled, killed      | `remit.testing.up_process.UpProcess` (`size="process"`)            |
| the client and the CLI against odd answers         | `support.fake_api.FakeApi`: no platform, one remit told by a script |
| death or failure at any point of any story         | tests/fault_matrix; one part alone: `remit.testing.around.around`  |
| a store, sandbox, harness, blob store of one's own | the suites of `remit.testing`, as tests/conformance runs them      |
| a verifier: verdicts on cheats and honest work     | `support.court`, `support.cheats`, tests/zoo                       |
| MCP servers, web sites, registries, raw sockets    | `support.mcp_forge`, `.web_site`, `.package_registry`, `.raw_server` |
| something that takes time                          | the fixture `clock`; for real processes `support.waiting.eventually` |

Every platform here is `remit.testing.platform` beneath; on PostgreSQL with `make test STORE=postgres` (`support.chosen_stores`).
"""

from __future__ import annotations

import hashlib
import os

import pytest

from remit.testing.clock import FakeClock
from remit.values import Principal

IS_WHOLE = os.environ.get("REMIT_TEST_TABLES") == "whole"
SEED = os.environ.get("REMIT_TEST_SEED", "8")
SHARE = int(os.environ.get("REMIT_TEST_SHARE", "1"))
"""Of all tests one in so many runs: for suites that are run a second time, under other circumstances."""

os.environ.pop(
    "COLUMNS", None
)  # processes that run tests side by side set it, and lines would be wrapped by it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests marked `table(share)` one in `share` runs, by a seed; `make cheats` runs them all. What is left out is told
    as deselected."""
    if IS_WHOLE or any("::" in argument for argument in config.invocation_params.args):
        return
    left_out = [item for item in items if _is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("table")
    share = SHARE * (1 if marker is None else int(marker.args[0]))
    number = int.from_bytes(hashlib.sha256(f"{SEED} {item.nodeid}".encode()).digest()[:4], "big")
    return number % share != 0


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
