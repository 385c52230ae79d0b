"""Files of sessions: copied, mounted read-only below /mnt/session/uploads, added and taken away while the session lives."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types.beta.sessions import BetaManagedAgentsFileResource

from api.running import events_of, open_session, running, said, script, send, texts, until_idle, use
from api.samples import new_session
from api.world import World
from remit.errors import InvalidRequest
from remit.sessions.resources import check_paths, mount_path
from remit.values import UPLOADS, JsonObject, Principal

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, f"{UPLOADS}/file_1"),
        ("/data.csv", f"{UPLOADS}/data.csv"),
        ("data.csv", f"{UPLOADS}/data.csv"),
        ("/deep/er/data.csv", f"{UPLOADS}/deep/er/data.csv"),
        (f"{UPLOADS}/data.csv", f"{UPLOADS}/data.csv"),
        ("/workspace/data.csv", f"{UPLOADS}/workspace/data.csv"),
    ],
)
def test_mount_paths_are_rooted_without_doubling(given: str | None, expected: str) -> None:
    assert mount_path(given, "file_1", field="mount_path") == expected


@pytest.mark.parametrize("path", ["/", "/a//b", "/a/../b", "/./a", "/a/", UPLOADS, "/a\u200bb", "/a\nb"])
async def test_path_that_is_none_is_refused(world: World, path: str) -> None:
    async with world.sdk() as client:
        file = await client.beta.files.upload(file=("a.txt", b"x"))
        session = await new_session(client)
        with pytest.raises(anthropic.BadRequestError, match="`mount_path`"):
            await client.beta.sessions.resources.add(
                session.id, file_id=file.id, type="file", mount_path=path
            )


FIT = [
    ((), ("/a", "/b"), None),
    (("/a/b",), ("/a/c", "/ab"), None),
    (("/data",), ("/data",), "/data"),
    (("/data",), ("/data/x",), "/data/x"),
    (("/data/x/y",), ("/data",), "/data"),
    ((), ("/x/y", "/x"), "/x"),
    ((), ("/x", "/x/y/z"), "/x/y/z"),
    (("/deep/er/a",), ("/deep/er/a/b",), "/deep/er/a/b"),
]


@pytest.mark.parametrize(("present", "added", "refused"), FIT)
@pytest.mark.parametrize("is_alone", [False, True])
def test_no_file_is_mounted_where_another_or_its_folder_is(
    present: tuple[str, ...], added: tuple[str, ...], refused: str | None, is_alone: bool
) -> None:
    there: dict[str, JsonObject] = {path: {"mount_path": UPLOADS + path} for path in present}
    paths = {f"resources[{index}].": UPLOADS + path for index, path in enumerate(added)}
    if is_alone:  # one after the other
        there |= {path: {"mount_path": UPLOADS + path} for path in added[:-1]}
        paths = {"": UPLOADS + added[-1]}
    if refused is None:
        check_paths(paths, there)
        return
    place = "mount_path" if is_alone else f"resources[{added.index(refused)}].mount_path"
    with pytest.raises(InvalidRequest, match=f"^{re.escape(f'`{place}`: {UPLOADS + refused!r} is taken')}"):
        check_paths(paths, there)


async def test_a_refused_addition_names_the_field_that_was_sent(world: World) -> None:
    async with world.sdk() as client:
        file = await client.beta.files.upload(file=("a.txt", b"x"))
        session = await new_session(
            client, resources=[{"type": "file", "file_id": file.id, "mount_path": "/a"}]
        )
        for wrong, place in (
            ({"file_id": file.id, "mount_path": "/a/b"}, "mount_path"),
            ({"file_id": "file_x"}, "file_id"),
        ):
            with pytest.raises(anthropic.BadRequestError) as refused:
                await client.beta.sessions.resources.add(session.id, type="file", **wrong)  # type: ignore[arg-type]
            assert refused.value.body["error"]["message"].startswith(f"`{place}`: ")  # type: ignore[index]
        assert len([each async for each in client.beta.files.list()]) == 2


async def test_resources_are_served_as_the_wire_has_them(world: World) -> None:
    async with world.sdk() as client, world.http() as http:
        file = await client.beta.files.upload(file=("a.txt", b"hello", "text/plain"))
        session = await new_session(
            client, resources=[{"type": "file", "file_id": file.id, "mount_path": "/a.txt"}]
        )
        (first,) = session.resources
        second = await client.beta.sessions.resources.add(session.id, file_id=file.id, type="file")
        listed = [each async for each in client.beta.sessions.resources.list(session.id)]
        paged = [each async for each in client.beta.sessions.resources.list(session.id, limit=1)]
        found = await client.beta.sessions.resources.retrieve(second.id, session_id=session.id)
        raw = (await http.get(f"/v1/sessions/{session.id}/resources/{first.id}")).json()
        copy = await client.beta.files.retrieve_metadata(first.file_id)
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.beta.sessions.resources.update(
                first.id, session_id=session.id, authorization_token="t"
            )
        deleted = await client.beta.sessions.resources.delete(first.id, session_id=session.id)
        left = (await client.beta.sessions.retrieve(session.id)).resources
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.sessions.resources.delete(first.id, session_id=session.id)
        with pytest.raises(anthropic.NotFoundError):
            await client.beta.files.retrieve_metadata(first.file_id)
    assert set(raw) == set(BetaManagedAgentsFileResource.model_fields)
    assert (first.type, first.mount_path) == ("file", f"{UPLOADS}/a.txt")
    assert second.mount_path == f"{UPLOADS}/{file.id}"
    assert len({file.id, first.file_id, second.file_id}) == 3  # copies
    assert listed == paged == [first, second]
    assert found == second
    assert copy.scope is not None
    assert (copy.scope.id, copy.filename, copy.size_bytes) == (session.id, "a.txt", 5)
    assert refused.value.error_code == "not_supported"
    assert (deleted.id, deleted.type) == (first.id, "session_resource_deleted")
    assert left == [second]


async def test_refused_session_leaves_no_copies(world: World) -> None:
    async with world.sdk() as client:
        file = await client.beta.files.upload(file=("a.txt", b"x"))
        one = {"type": "file", "file_id": file.id, "mount_path": "/a"}
        for resources, named in (
            ([one, {"type": "file", "file_id": "file_unknown"}], r"`resources\[1\].file_id`"),
            ([one, one], r"`resources\[1\].mount_path`.*taken"),
            ([one, {**one, "mount_path": "/a/b"}], r"`resources\[1\].mount_path`.*taken"),
            ([{**one, "mount_path": "/a/b"}, one], r"`resources\[1\].mount_path`.*taken"),
            ([{**one, "mount_path": f"/{number}"} for number in range(501)], "500"),
        ):
            with pytest.raises(anthropic.BadRequestError, match=named):
                await new_session(client, resources=resources)
        assert [each.id async for each in client.beta.files.list()] == [file.id]
        assert [each async for each in client.beta.sessions.list()] == []


async def test_of_many_that_add_to_one_path_one_wins(world: World) -> None:
    async with world.sdk() as client:
        file = await client.beta.files.upload(file=("a.txt", b"x"))
        session = await new_session(client)
        results = await asyncio.gather(
            *(
                client.beta.sessions.resources.add(
                    session.id, file_id=file.id, type="file", mount_path="/same"
                )
                for _ in range(5)
            ),
            return_exceptions=True,
        )
        found = [each async for each in client.beta.sessions.resources.list(session.id)]
        files = [each async for each in client.beta.files.list()]
    assert [each.id for each in found] == [r.id for r in results if not isinstance(r, BaseException)]
    assert len(found) == 1
    assert len(files) == 2  # the upload and one copy


async def test_archived_session_takes_no_resources(world: World) -> None:
    async with world.sdk() as client:
        file = await client.beta.files.upload(file=("a.txt", b"x"))
        session = await new_session(client, resources=[{"type": "file", "file_id": file.id}])
        await client.beta.sessions.archive(session.id)
        with pytest.raises(anthropic.BadRequestError, match="ended"):
            await client.beta.sessions.resources.add(session.id, file_id=file.id, type="file")
        with pytest.raises(anthropic.BadRequestError, match="ended"):
            await client.beta.sessions.resources.delete(session.resources[0].id, session_id=session.id)
        await client.beta.sessions.delete(session.id)
        assert [each.id async for each in client.beta.files.list()] == [file.id]


def results(events: list[Any]) -> list[str]:
    return [text.strip() for text in texts(events, "agent.tool_result")]


async def test_agent_reads_what_was_uploaded_and_what_is_added_later(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, platform):
        file = await client.beta.files.upload(file=("a.csv", b"a,b\n1,2\n", "text/csv"))
        session = await open_session(
            client, resources=[{"type": "file", "file_id": file.id, "mount_path": "/in/a.csv"}]
        )
        await client.beta.files.delete(file.id)  # the session has its own
        read = use("read", file_path=f"{UPLOADS}/in/a.csv")
        state = use("bash", command='cd /tmp; echo changed > "$WORKSPACE/work.txt"')
        ok = {"text": "ok"}
        later_path = f"{UPLOADS}/b.txt"
        await send(
            client,
            session.id,
            script(
                read,
                state,
                ok,
                use("read", file_path=later_path),
                use("bash", command='cat "$WORKSPACE/work.txt"'),
                ok,
                use("read", file_path=later_path),
                ok,
            ),
        )
        first = await until_idle(client, session.id)
        later = await client.beta.files.upload(file=("b.txt", b"later"))
        added = await client.beta.sessions.resources.add(
            session.id, file_id=later.id, type="file", mount_path="b.txt"
        )
        await send(client, session.id, said("go on"))
        second = await until_idle(client, session.id, 2)
        await client.beta.sessions.resources.delete(added.id, session_id=session.id)
        await send(client, session.id, said("go on"))
        third = await until_idle(client, session.id, 3)
        types = [event.type for event in third]
        facts = [
            row.body.decode()
            for row in await platform.services.sessions.read(ONE, session.id)
            if row.type == "environment.described"
        ]
    assert added.mount_path == later_path
    assert "1,2" in results(first)[0]
    assert "later" in results(second)[2]
    assert results(second)[3] == "changed"
    assert "no such file" in results(third)[4].lower()
    assert "session.sandbox_lost" not in types  # nothing was lost: it was put away and made anew
    assert "in/a.csv" in facts[0]


async def test_uploads_can_be_verified_against(tmp_path: Path) -> None:
    async with running(tmp_path) as (client, _):
        file = await client.beta.files.upload(file=("expected.txt", b"42\n"))
        session = await open_session(
            client, resources=[{"type": "file", "file_id": file.id, "mount_path": "/expected.txt"}]
        )
        await send(
            client,
            session.id,
            {
                "type": "user.define_outcome",
                "description": "```script\n"
                '{"steps": [{"tool_uses": [{"name": "bash", "input": {"command": "echo 42 > \\"$WORKSPACE/x\\""}}]},'
                ' {"text": "done"}]}\n```',
                "verifiers": [{"type": "command", "command": 'diff "$UPLOADS/expected.txt" x'}],
            },
        )
        await until_idle(client, session.id)
        evaluations = (await client.beta.sessions.retrieve(session.id)).outcome_evaluations
        assert [evaluation.result for evaluation in evaluations] == ["satisfied"]
        assert any(e.type == "span.outcome_evaluation_end" for e in await events_of(client, session.id))
