"""Golden logs. `python tests/replay/record.py` writes the state of every golden log anew, for when the state has a new
field; look at the difference before you commit it. With `--new NAME` it records a log under a new name first, for a new
schema version. A log that is there is never written again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import cast

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from remit.session.checkpoints import FOLD_VERSION
from remit.session.folding import fold
from remit.session.state import SessionState
from remit.values import EventRow, JsonObject, JsonValue
from support.session_bench import PRINCIPAL, SessionBench, say, script, use

GOLDEN = Path(__file__).resolve().parent / "golden"
ASKING_BASH: JsonObject = {
    "type": "agent_toolset_20260401",
    "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
    "configs": [
        {"type": "bash", "name": "bash", "enabled": True, "permission_policy": {"type": "always_ask"}}
    ],
}
BOSS: JsonObject = {
    "type": "custom",
    "name": "boss",
    "description": "Ask.",
    "input_schema": {"type": "object"},
}


async def record(folder: Path) -> list[EventRow]:
    """One session that has been through nearly everything a session can go through."""
    steps = [
        use("write", file_path="/workspace/a.txt", content="one\n"),
        use("bash", command="cat a.txt"),
        say("I wrote one."),
        use("bash", command="rm -rf /workspace"),
        use("boss", question="may I?"),
        use("bash", command="echo two > a.txt"),
        say("Now it is two."),
    ]
    rules: list[JsonValue] = [
        {
            "when": {"last_user_contains": "once more"},
            "steps": [{"text": "recovered", "fault": {"kind": "overloaded", "times": 1}}],
        },
        {"when": {"last_user_contains": "slow"}, "steps": [{"text": "slow", "delay_ms": 60_000}]},
    ]
    bench = SessionBench(folder, scripts={"script": {**script(*steps), "rules": rules}})
    async with bench.running():
        session_id = await bench.create(agent={"tools": [ASKING_BASH, BOSS]})
        await bench.define_outcome(session_id, "a.txt says two", "grep -q two a.txt")
        idles = 1
        await bench.wait_idle(session_id, idles)
        for result, more in (("allow", {}), ("deny", {"deny_message": "no"})):
            waiting = (await bench.state(session_id)).blocking[0]
            await bench.send(session_id, "user.tool_confirmation", tool_use_id=waiting, result=result, **more)
            idles += 1
            await bench.wait_idle(session_id, idles)
        asked = (await bench.state(session_id)).blocking[0]
        await bench.send(
            session_id,
            "user.custom_tool_result",
            custom_tool_use_id=asked,
            content=[{"type": "text", "text": "you may"}],
        )
        idles += 1
        await bench.wait_idle(session_id, idles)
        waiting = (await bench.state(session_id)).blocking[0]
        await bench.send(session_id, "user.tool_confirmation", tool_use_id=waiting, result="allow")
        idles += 1
        await bench.wait_idle(session_id, idles)
        await bench.say(session_id, "be slow")
        await bench.wait_for(
            session_id, "model.started", count=len(await bench.bodies(session_id, "model.started")) + 1
        )
        await bench.send(session_id, "user.interrupt")
        idles += 1
        await bench.wait_idle(session_id, idles)
        await bench.say(session_id, "and once more")
        idles += 1
        await bench.wait_idle(session_id, idles)
        await bench.send(session_id, "system.message", content=[{"type": "text", "text": "be brief"}])
        idles += 1
        await bench.wait_idle(session_id, idles)
    rows = await bench.store.read(PRINCIPAL, session_id, limit=100_000)
    await bench.close()
    return list(rows)


def encode_row(row: EventRow) -> bytes:
    """One line: the row with its body as JSON, so that people can read a golden file."""
    plain = cast("dict[str, object]", msgspec.to_builtins(row, builtin_types=(bytes,)))
    return msgspec.json.encode({**plain, "body": msgspec.json.decode(row.body)})


def decode_row(line: bytes) -> EventRow:
    """The inverse; bodies are encoded anew, which a fold cannot see."""
    plain = msgspec.json.decode(line)
    body = msgspec.json.encode(plain.pop("body"))
    return EventRow(**plain, body=body)


def encode_state(state: SessionState) -> bytes:
    """The state as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(state), indent=1)


def fold_version_line() -> str:
    """The version of the fold, and what it makes of the golden logs."""
    states = b"".join(path.read_bytes() for path in sorted(GOLDEN.glob("*.state.json")))
    return f"{FOLD_VERSION} {hashlib.sha256(states).hexdigest()}\n"


def write_fold_version() -> None:
    """Fails where the fold derives something else under the version that was there before."""
    path, line = GOLDEN / "fold_version.txt", fold_version_line()
    if path.exists() and path.read_text() != line and path.read_text().startswith(f"{FOLD_VERSION} "):
        raise SystemExit(
            "the states changed: raise FOLD_VERSION in session/checkpoints.py, then run this again"
        )
    path.write_text(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--new", metavar="NAME", help="record a log, session_v2 for instance")
    name = parser.parse_args().new
    if name is not None:
        path = GOLDEN / f"{name}.jsonl"
        if path.exists():
            raise SystemExit(f"{path} is there already, and old logs are never written again")
        with tempfile.TemporaryDirectory() as folder:
            rows = asyncio.run(record(Path(folder)))
        path.write_bytes(b"\n".join(map(encode_row, rows)) + b"\n")
    for path in sorted(GOLDEN.glob("*.jsonl")):
        rows = [decode_row(line) for line in path.read_bytes().splitlines()]
        path.with_suffix(".state.json").write_bytes(encode_state(fold(rows)) + b"\n")
    write_fold_version()


if __name__ == "__main__":
    main()
