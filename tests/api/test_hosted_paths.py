"""Programs written for hosted sandboxes name the folders they know from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from api.running import TOOLSET, open_session, running, said, script, send, until_idle, use
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.platform import PlatformUnderTest
from remit.values import Principal
from support.waiting import POLL_SECONDS, WAIT_SECONDS

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

CALC = b"def add(a, b):\n    return a - b\n"
WRITABLE = "for f in /mnt/user /mnt/session/outputs /tmp /workspace; do echo ok > $f/try && cat $f/try; done"
READ_ONLY = "echo x > /mnt/session/uploads/calc.py || echo x > /usr/x || echo no"


@pytest.mark.requirement("sessions paths")
async def test_files_are_taken_from_uploads_mended_in_mnt_user_and_handed_over_in_outputs(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, sandboxes=BubblewrapProvider) as (client, _):
        agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])  # type: ignore[list-item]
        limited: Any = {"type": "cloud", "networking": {"type": "limited"}}
        environment = await client.beta.environments.create(name="e", config=limited)
        calc = await client.files.upload(file=("calc.py", CALC, "text/x-python"))
        task: Any = script(
            use("bash", command="cp /mnt/session/uploads/calc.py /mnt/user && cd /mnt/user && ls"),
            use("edit", file_path="/mnt/user/calc.py", old_string="a - b", new_string="a + b"),
            use("bash", command="python3 -c 'import calc; print(calc.add(1, 2))'"),
            use("bash", command="cp /mnt/user/calc.py /mnt/session/outputs/calc.py"),
            use("bash", command=WRITABLE),
            use("bash", command=READ_ONLY),
            {"text": "Done."},
        )
        session = await client.beta.sessions.create(
            agent=agent.id,
            environment_id=environment.id,
            resources=[{"type": "file", "file_id": calc.id, "mount_path": "calc.py"}],
            initial_events=[task],
        )
        events = await until_idle(client, session.id)
        said = [event.content[0].text for event in events if event.type == "agent.tool_result"]
        files = await client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"])
        handed_over = next(file for file in files.data if file.filename == "calc.py" and file.downloadable)
        content = await (await client.files.download(handed_over.id)).read()
    assert said[0].strip() == "calc.py"
    assert said[2].strip() == "3"
    assert said[4].split() == ["ok"] * 4
    assert said[5].strip().endswith("no")
    assert content == CALC.replace(b"a - b", b"a + b")


async def until_row(platform: PlatformUnderTest, session_id: str, type: str) -> None:
    """The log has a row of this type."""
    who = Principal(workspace_id="wrkspc_one", actor="apikey_one")
    with anyio.fail_after(WAIT_SECONDS):
        while type not in {row.type for row in await platform.services.sessions.read(who, session_id)}:  # noqa: ASYNC110 no event tells of it
            await anyio.sleep(POLL_SECONDS)


SHOW = "for path in {}; do echo $(cat $path 2>&1); done; ls -a /mnt/session/uploads"


@pytest.mark.requirement("files at their place")
async def test_files_stand_where_the_program_mounted_them_too_wherever_nothing_else_stands(
    tmp_path: Path,
) -> None:
    paths = [
        "/workspace/in/x.csv",
        "/mnt/user-data/x.md",
        "/data/deep/x.json",
        "/tmp/x.txt",
        "/mnt/user/y.csv",
    ]
    others = [
        "/etc/passwd",
        "/usr/bin/env",
        "/mnt/session/outputs/x",
        "plain.txt",
        "/mnt/session/uploads/z.txt",
    ]
    released: Any = {"sandbox_idle_seconds": 0.0}
    async with running(tmp_path, sandboxes=BubblewrapProvider, settings=released) as (client, platform):
        given = await client.beta.files.upload(file=("x", b"given\n"))
        files: Any = [{"type": "file", "file_id": given.id, "mount_path": path} for path in (*paths, *others)]
        session = await open_session(client, resources=files)
        assert {one.mount_path for one in session.resources} >= {
            f"/mnt/session/uploads{path}" for path in paths
        }  # type: ignore[union-attr]
        task = script(
            use("bash", command=SHOW.format(" ".join(paths))),
            use(
                "bash",
                command="head -c 4 /etc/passwd; head -c 4 /usr/bin/env | tail -c 3; ls /plain.txt /z.txt",
            ),
            use("bash", command="rm in/x.csv && echo mine > in/x.csv && rm y.csv"),
            {"text": "Done."},
            use("bash", command="cat in/x.csv y.csv /data/deep/x.json"),
            {"text": "Done."},
        )
        await send(client, session.id, task)
        await until_idle(client, session.id)
        await until_row(platform, session.id, "sandbox.released")
        await send(client, session.id, said("Look again."))
        events = await until_idle(client, session.id, 2)
    told = [event.content[0].text for event in events if event.type == "agent.tool_result"]
    assert told[0].split("\n")[: len(paths)] == ["given"] * len(paths)
    assert told[1].startswith("rootELF")
    assert told[1].count("No such file") == 2
    assert told[3].split() == ["mine", "given", "given"], "what the agent put there stays"


@pytest.mark.requirement("files at their place")
async def test_the_uploads_are_a_folder_also_in_a_session_without_files(tmp_path: Path) -> None:
    async with running(tmp_path, sandboxes=BubblewrapProvider) as (client, _):
        session = await open_session(client)
        await send(
            client, session.id, script(use("bash", command="ls -d /mnt/session/uploads"), {"text": "ok"})
        )
        events = await until_idle(client, session.id)
    assert [e.content[0].text.strip() for e in events if e.type == "agent.tool_result"] == [
        "/mnt/session/uploads"
    ]
