"""Model servers that happen to run on this machine: named to the user, never used unasked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from remit.models.http.endpoint import ModelEndpoint, ModelTimeouts
from remit.values import Value

PROBE_SECONDS = 0.2
WELL_KNOWN_SERVERS: tuple[tuple[str, int], ...] = (
    ("Ollama", 11434),
    ("LM Studio", 1234),
    ("llama.cpp", 8080),
)


class LocalServer(Value, frozen=True, kw_only=True):
    """A model server that answered on loopback."""

    name: str
    base_url: str
    """What REMIT_OPENAI_BASE_URL would have to be."""
    models: tuple[str, ...]


async def discover_local(
    candidates: tuple[tuple[str, int], ...] = WELL_KNOWN_SERVERS,
) -> list[LocalServer]:
    """Ask the well-known ports for their models, all at once, each for at most 200 ms. Never raises."""
    async with asyncio.TaskGroup() as tasks:
        probes = [tasks.create_task(_probe(name, port)) for name, port in candidates]
    return [server for probe in probes if (server := probe.result()) is not None]


async def _probe(name: str, port: int) -> LocalServer | None:
    base_url = f"http://127.0.0.1:{port}/v1"
    timeouts = ModelTimeouts(connect_seconds=PROBE_SECONDS, listing_seconds=PROBE_SECONDS)
    endpoint = ModelEndpoint(name=name, base_url=base_url, headers={}, timeouts=timeouts)
    try:
        listed = await endpoint.ask("GET", "/models")
    finally:
        await endpoint.close()
    data = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(data, list):
        return None
    models = [str(entry["id"]) for entry in data if isinstance(entry, dict) and "id" in entry]
    return LocalServer(name=name, base_url=base_url, models=tuple(models))


async def unused_servers(used_base_url: str | None) -> Sequence[str]:
    """Says which servers answer and how one is used; the one in use is not news."""
    return [
        f"{one.name} answers at {one.base_url} ({len(one.models)} models); not used unless "
        f"REMIT_OPENAI_BASE_URL={one.base_url} says so"
        for one in await discover_local()
        if one.base_url != used_base_url
    ]
