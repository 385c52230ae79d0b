"""What an agent leaves below /mnt/session/outputs: listed when complete, kept over sandboxes, gone with the session."""

from __future__ import annotations

from pathlib import Path

import anthropic
import anyio
import pytest

from api.running import open_session, running, said, script, send, texts, until, until_idle, use
from remit.session.folding import fold
from remit.session.view import system_prompt
from remit.values import Principal

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")


async def test_outputs_are_listed_right_after_the_turn_and_complete(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        await send(
            client,
            session.id,
            script(
                use("write", file_path="/mnt/session/outputs/report.md", content="# done\n"),
                use(
                    "bash",
                    command='mkdir -p "$OUTPUTS/data" && head -c 300000 /dev/zero > "$OUTPUTS/data/z.bin"',
                ),
                use("write", file_path="/workspace/scratch.txt", content="not handed over"),
                {"text": "See report.md."},
            ),
        )
        await until_idle(client, session.id)
        listed = [
            f async for f in client.beta.files.list(scope_id=session.id, betas=["managed-agents-2026-04-01"])
        ]
        everything = [file.id async for file in client.beta.files.list()]
        contents = {f.filename: await (await client.beta.files.download(f.id)).read() for f in listed}
        one = [f async for f in client.beta.files.list(scope_id=session.id, limit=1)]
        again = await client.beta.files.retrieve_metadata(listed[0].id)
    assert contents == {"report.md": b"# done\n", "data/z.bin": bytes(300_000)}
    for file in listed:
        assert file.scope is not None
        assert (file.scope.type, file.scope.id, file.downloadable) == ("session", session.id, True)
    assert {file.mime_type for file in listed} == {"text/markdown", "application/octet-stream"}
    assert sorted(everything) == sorted(file.id for file in listed)
    assert [file.id for file in one] == [file.id for file in listed]
    assert again == listed[0]


@pytest.mark.requirement("files of a session")
async def test_all_that_a_session_lists_can_be_downloaded_and_what_it_was_given_is_told_apart(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (client, _):
        given = await client.beta.files.upload(file=("report.md", b"old\n"))
        session = await open_session(client, resources=[{"type": "file", "file_id": given.id}])
        path = "/mnt/session/outputs/report.md"
        await send(client, session.id, script(use("write", file_path=path, content="new\n"), {"text": "ok"}))
        await until_idle(client, session.id)
        listed = [file async for file in client.beta.files.list(scope_id=session.id)]
        contents = {
            file.downloadable: await (await client.beta.files.download(file.id)).read() for file in listed
        }
    assert [file.filename for file in listed] == ["report.md", "report.md"]
    assert contents == {True: b"new\n", False: b"old\n"}
    assert given.downloadable


async def test_list_is_the_folder_and_a_changed_output_is_another_file(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)

        async def turn(number: int, event: dict[str, object]) -> dict[str, str]:
            await send(client, session.id, event)
            await until_idle(client, session.id, number)
            return {f.filename: f.id async for f in client.beta.files.list(scope_id=session.id)}

        ok = {"text": "ok"}
        first = await turn(
            1,
            script(
                use("bash", command='printf one > "$OUTPUTS/a.txt"'),
                use("bash", command='printf same > "$OUTPUTS/b.txt"'),
                ok,
                use("bash", command='printf two > "$OUTPUTS/a.txt"'),
                ok,
                use("bash", command='echo x > "$WORKSPACE/other.txt"'),
                ok,
                use("bash", command='rm "$OUTPUTS/a.txt"'),
                ok,
            ),
        )
        second = await turn(2, said("go on"))
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.files.download(first["a.txt"])
        await client.beta.files.delete(second["b.txt"])
        third = await turn(3, said("go on"))
        fourth = await turn(4, said("go on"))
    assert first.keys() == second.keys() == {"a.txt", "b.txt"}
    assert first["a.txt"] != second["a.txt"]
    assert first["b.txt"] == second["b.txt"]
    assert third == {"a.txt": second["a.txt"]}
    assert fourth == {}


async def test_outputs_stand_in_the_next_sandbox_too(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, platform):
        session = await open_session(client)
        await send(
            client,
            session.id,
            script(
                use("bash", command='printf kept > "$OUTPUTS/a.txt"'),
                {"text": "ok"},
                use("bash", command='echo hi > "$OUTPUTS/b.txt"; cat "$OUTPUTS/a.txt"'),
                {"text": "ok"},
            ),
        )
        await until_idle(client, session.id)
        before = [file.id async for file in client.beta.files.list(scope_id=session.id)]
        sandbox = platform.held.get(session.id)
        assert sandbox is not None
        await sandbox.destroy()
        await platform.held.drop(session.id)
        await send(client, session.id, said("go on"))
        events = await until_idle(client, session.id, 2)
        after = {file.filename: file.id async for file in client.beta.files.list(scope_id=session.id)}
    assert any("kept" in text for text in texts(events, "agent.tool_result"))
    assert after.keys() == {"a.txt", "b.txt"}
    assert after["a.txt"] == before[0]


async def test_outputs_go_with_their_session(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        await send(
            client,
            session.id,
            script(use("bash", command='printf x > "$OUTPUTS/a.txt"'), {"text": "ok"}),
        )
        await until_idle(client, session.id)
        (file,) = [file async for file in client.beta.files.list(scope_id=session.id)]
        await client.beta.sessions.delete(session.id)
        assert [each async for each in client.beta.files.list(scope_id=session.id)] == []
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.files.retrieve_metadata(file.id)


async def test_verifiers_see_what_is_handed_over(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        outcome = {
            "type": "user.define_outcome",
            "description": "```script\n"
            '{"steps": [{"tool_uses": [{"name": "write", "input": {"file_path": "/mnt/session/outputs/r.md",'
            ' "content": "# R"}}]}, {"text": "handed over"}]}\n```',
            "verifiers": [{"type": "command", "command": 'grep -q R "$OUTPUTS/r.md"'}],
        }
        await send(client, session.id, outcome)
        await until_idle(client, session.id)
        found = await client.beta.sessions.retrieve(session.id)
    assert [evaluation.result for evaluation in found.outcome_evaluations] == ["satisfied"]


async def test_agent_is_told_where_to_hand_over_unless_it_works_for_a_remit(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, platform):
        session = await open_session(client)
        rows = await platform.services.sessions.read(ONE, session.id)
    state = fold(rows)
    assert "/mnt/session/outputs" in system_prompt(state, has_builtin_tools=True)
    assert "/mnt/session/outputs" not in system_prompt(state, has_builtin_tools=False)
    state.created["parent"] = "remit_1"
    assert "/mnt/session/outputs" not in system_prompt(state, has_builtin_tools=True)


async def test_list_of_a_running_session_does_not_wait_for_its_turn(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        session = await open_session(client)
        await send(
            client,
            session.id,
            script(
                use("bash", command='echo 1 > "$OUTPUTS/a.txt"'),
                {"text": "one"},
                use("bash", command='echo 2 > "$OUTPUTS/b.txt"'),
                {"text": "never said in full", "delay_ms": 60_000},
            ),
        )
        await until_idle(client, session.id)
        # The list of an idle session waits for the capture of its turn.
        assert [file.filename async for file in client.beta.files.list(scope_id=session.id)] == ["a.txt"]
        await send(client, session.id, said("go on"))
        await until(client, session.id, "agent.tool_result", 2)
        with anyio.fail_after(5):
            listed = {file.filename async for file in client.beta.files.list(scope_id=session.id)}
    assert "a.txt" in listed
