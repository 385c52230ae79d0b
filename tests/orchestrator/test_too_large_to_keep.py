"""A working tree that is too large for a snapshot: it is lost, with its cause, and nothing hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.values import JsonObject
from support.session_bench import SessionBench, say, script, use

pytestmark = pytest.mark.anyio

LOOKED_AT_SECONDS = 90
"""To make so many files, to look at them once, and to remove them: some seconds of a core, of which others have their share."""
FILL = """python3 -c '
import os
folder = "/".join("d" * 250 for _ in range(12))
os.makedirs(folder)
os.chdir(folder)
for number in range(22_500): os.mknod(str(number))
'"""


@pytest.mark.long
async def test_files_that_are_too_many_to_keep_are_lost_for_that_cause_and_the_session_goes_on(
    tmp_path: Path,
) -> None:
    steps = (use("bash", command="echo kept > small"), use("bash", command=FILL), say("filled"))
    again = (use("bash", command="ls"), say("gone"))
    played: JsonObject = {**script(*steps, *again), "rules": []}
    bench = SessionBench(tmp_path, scripts={"script": played}, settings={"sandbox_idle_seconds": 0.0})
    try:
        session_id = await bench.create()
        async with bench.running():
            await bench.say(session_id, "fill it")
            lost = await bench.wait_for(session_id, "session.sandbox_lost", seconds=LOOKED_AT_SECONDS)
            await bench.say(session_id, "go on")
            await bench.wait_idle(session_id, 2)
        assert lost["cause"] == "too_large"
        assert "longer than 64 MiB" in str(lost["reason"])
        results = await bench.bodies(session_id, "agent.tool_result")
        assert [result["is_error"] for result in results] == [False, False, False]
    finally:
        await bench.close()
