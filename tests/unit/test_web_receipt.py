"""A priced search on a remit's receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from remit.catalog.environments import Environments
from remit.schema.environments import CloudConfigParams, EnvironmentCreate, UnrestrictedNetwork
from support.remit_bench import RemitBench
from support.session_bench import PRINCIPAL, say, script, use
from support.web_site import page, site

pytestmark = pytest.mark.anyio


async def test_a_priced_search_stands_on_the_receipt_and_the_checker_finds_nothing(tmp_path: Path) -> None:
    steps = [
        use("web_search", query="tea"),
        use("write", file_path="/workspace/a", content="42\n"),
        say("Done."),
    ]
    async with site() as web:
        web.pages["/search"] = page(msgspec.json.encode({"results": []}), type="application/json")
        settings = {"web_tools": True, "searxng_url": web.url, "web_search_usd_per_thousand": 10.0}
        settings |= {"egress_ports": (web.port,), "egress_private_hosts": ("127.0.0.1",)}
        bench = RemitBench(tmp_path, scripts={"s": script(*steps)}, settings=settings)
        try:
            environments = Environments(bench.catalog, bench.clock, bench.ids)
            config = CloudConfigParams(networking=UnrestrictedNetwork())
            made = await environments.create(PRINCIPAL, EnvironmentCreate(name="open", config=config))
            remit_id = await bench.create(
                outcome="Answer",
                environment_id=made.id,
                verifiers=[{"type": "command", "command": "grep -qx 42 a"}],
                model="scripted/s",
            )
            async with bench.running():
                await bench.ended(remit_id)
            receipt = cast("Any", await bench.receipt(remit_id))
            (search,) = [call for call in receipt["calls"] if call["tool"] is not None]
            assert search["tool"] == "web_search"
            assert search["model"] is None
            assert search["state"] == "settled"
            assert search["settled"]["nano_usd"] == search["held"]["nano_usd"] == 10_000_000
            assert receipt["spent_exact"]["nano_usd"] == 10_000_000
            assert (await bench.check(remit_id)).violations == ()
        finally:
            await bench.close()
