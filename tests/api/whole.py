"""The whole platform, as the composition root puts it together, on stores in memory and a folder for a sandbox."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from remit.app import Assembled, Parts, assemble, load_settings
from remit.app.parts import MoreStreams
from remit.blobs.directory import DirectoryBlobStore
from remit.bus.memory import MemoryBus
from remit.clock import SystemClock
from remit.ids import Ids
from remit.interfaces import BlobStore, SandboxProvider, ToolSource
from remit.ledger.prices import PriceTable, parse_overrides
from remit.models.scripted import ScriptedProvider, parse_script
from remit.orchestrator.evaluation import HEARTBEAT_SECONDS
from remit.sandboxes.local import LocalProvider
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.messages_rules import StrictModel
from remit.values import KeyRow

OPERATOR_KEY = "rk_operator"


@asynccontextmanager
async def whole_platform(
    folder: Path,
    *,
    prices: Mapping[str, Mapping[str, float]] | None = None,
    scripts: Mapping[str, Any] | None = None,
    public_url: str | None = None,
    make_sandboxes: Callable[[Path, BlobStore, Ids], SandboxProvider] = LocalProvider,
    settings: Mapping[str, object] | None = None,
    evaluation_heartbeat_seconds: float = HEARTBEAT_SECONDS,
    is_strict: bool = True,
    more_streams: Sequence[MoreStreams] = (),
    tools: Sequence[ToolSource] = (),
) -> AsyncGenerator[Assembled]:
    """`scripts` are served as `scripted/NAME`. With the keys `rk_one` and `rk_two` of two workspaces. The worker does not run
    unless the test runs it. With `is_strict` no call may break a rule of the Messages API in the end."""
    clock = SystemClock()
    ids = Ids(clock)
    catalog = MemoryCatalog(clock)
    blobs = DirectoryBlobStore(folder / "blobs")
    sandboxes = make_sandboxes(folder / "runtime", blobs, ids)
    played = {
        name: parse_script(msgspec.json.encode(script), name=name) for name, script in (scripts or {}).items()
    }
    strict = StrictModel(ScriptedProvider(played, clock=clock))
    assembled = assemble(
        Parts(
            settings=load_settings({}, data=folder, **(settings or {})),
            clock=clock,
            ids=ids,
            sessions=MemorySessionStore(clock),
            catalog=catalog,
            blobs=blobs,
            bus=MemoryBus(),
            sandboxes=sandboxes,
            models={"scripted": strict},
            prices=PriceTable(parse_overrides(prices or {}), clock=clock),
            evaluation_heartbeat_seconds=evaluation_heartbeat_seconds,
            more_streams=more_streams,
            tools=tools,
        ),
        public_url=public_url,
    )
    for number in ("one", "two"):
        await catalog.put_key(
            KeyRow(
                id=f"apikey_{number}",
                sha256=hashlib.sha256(f"rk_{number}".encode()).hexdigest(),
                kind="api_key",
                name=number,
                scopes=("*",),
                workspace_id=f"wrkspc_{number}",
                created_at_us=clock.now_us(),
            )
        )
    try:
        yield assembled
    finally:
        await assembled.tools.close()
        await assembled.held.close()
        await sandboxes.close()
        if is_strict:
            strict.require_none()


def operator_key() -> KeyRow:
    """A key that opens every route."""
    return KeyRow(
        id="apikey_operator",
        sha256=hashlib.sha256(OPERATOR_KEY.encode()).hexdigest(),
        kind="api_key",
        name="operator",
        scopes=("*", "operator"),
        workspace_id="wrkspc_one",
        created_at_us=1,
    )
