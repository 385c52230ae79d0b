"""Remits over HTTP: the whole journey, and what is refused before anything is written."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import httpx2
import msgspec
import pytest

from api.answers import CheckedAnswers
from remit.client.asgi import StreamingASGITransport
from remit.gateway.routing import ModelRouter
from remit.server.app import create_app
from remit.server.routes.doctor import DoctorRoutes, no_local_servers
from remit.testing.platform import ONE, OPERATOR, TWO, GivenKey
from remit.values import Page, Principal, StreamFilter
from support.remit_bench import RemitBench, tar_of
from support.session_bench import PRINCIPAL, say, script, use

pytestmark = pytest.mark.anyio

SCRIPTS = {
    "dear": script(use("write", file_path="/workspace/answer.txt", content="42\n"), say("Done.")),
    "free": script(say("Done.")),
}
ASKED: dict[str, Any] = {
    "outcome": "Answer",
    "verifiers": [{"type": "command", "command": "grep -qx 42 answer.txt"}],
    "model": "scripted/dear",
    "budget": {"usd": "5.00"},
}
PLAIN = GivenKey(name="plain", scopes=("api",))
KEYS = {key.secret: key for key in (ONE, TWO, OPERATOR, PLAIN)}


@dataclass
class World:
    bench: RemitBench

    def client(self, key: str = "rk_one") -> httpx2.AsyncClient:
        return self.bench.platform.http(KEYS[key])

    async def remit_count(self) -> int:
        return len(await self.bench.store.list_streams(PRINCIPAL, StreamFilter(kind="remit"), Page(limit=9)))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    bench = RemitBench(tmp_path, scripts=SCRIPTS, around=CheckedAnswers)
    for key in KEYS.values():
        await bench.platform.give(key)
    yield World(bench)
    await bench.close()


async def test_an_upload_a_forecast_consent_and_the_result(world: World) -> None:
    async with world.client() as client, world.bench.running():
        uploaded = await client.post(
            "/v1/remits/inputs",
            content=tar_of({"answer.txt": "0\n"}),
            headers={"content-type": "application/x-tar"},
        )
        assert uploaded.status_code == 200, uploaded.text
        created = (await client.post("/v1/remits", json={**ASKED, "input_id": uploaded.json()["id"]})).json()
        assert (created["status"], created["forecast"]) == ("verifying_input", None)
        assert created["consent"] == {"state": "pending", "reasons": ["cost"], "despite": []}
        path = f"/v1/remits/{created['id']}"
        await world.bench.wait_for(created["id"], "remit.forecast")
        asked = (await client.get(path)).json()
        assert asked["status"] == "awaiting_consent"
        assert asked["consent"] == {"state": "asked", "reasons": ["cost"], "despite": []}
        assert [verdict["passed"] for verdict in asked["initial_verdicts"]] == [False]
        assert asked["forecast"]["usd"]["likely"] > "0"
        assert asked["spent"] == {"usd": "0", "tokens": 0}
        assert (await client.post(f"{path}/approve")).status_code == 200
        await world.bench.ended(created["id"])
        remit = (await client.get(path)).json()
        assert (remit["status"], remit["completed"], remit["verified"]) == ("satisfied", True, True)
        receipt = (await client.get(f"{path}/receipt")).json()
        assert receipt["spent"] == remit["spent"]
        check = (await client.get(f"{path}/check")).json()
        assert (check["ok"], check["violations"]) == (True, [])
        session = (await client.get(f"/v1/sessions/{remit['session_ids'][0]}/check")).json()
        assert (session["ok"], session["violations"]) == (True, [])
        listed = (await client.get(f"{path}/deliverables")).json()
        assert [(file["path"], file["kind"]) for file in listed["changed"]] == [("answer.txt", "modified")]
        answer = await client.get(f"{path}/deliverables/files.tar")
        content = answer.content
        assert answer.headers["content-disposition"] == 'attachment; filename="files.tar"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert hashlib.sha256(content).hexdigest() == listed["data"][0]["sha256"]
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            member = tar.extractfile("answer.txt")
            assert member is not None
            assert member.read() == b"42\n"
        verified = (await client.post(f"{path}/verify")).json()
        assert verified["verified"] is True
        assert verified["verdicts"][0]["passed"] is True


async def test_the_stream_replays_from_the_beginning_and_ends_with_the_end(world: World) -> None:
    async with world.client() as client, world.bench.running():
        created = (await client.post("/v1/remits", json={**ASKED, "consent": "given"})).json()
        types: list[str] = []
        with anyio.fail_after(20):
            async with client.stream("GET", f"/v1/remits/{created['id']}/events/stream?after=0") as response:
                types = [line[7:] async for line in response.aiter_lines() if line.startswith("event: ")]
        events = (await client.get(f"/v1/remits/{created['id']}/events")).json()["data"]
    assert types[0] == "remit.created"
    assert types[-1] == "remit.ended"
    assert [event["type"] for event in events] == types


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"budget": {}}, "budget"),
        ({"budget": {"usd": "0"}}, "budget.usd"),
        ({"budget": {"usd": "two"}}, "budget.usd"),
        ({"budget": {"tokens": 0}}, "budget.tokens"),
        ({"outcome": " "}, "outcome"),
        ({"outcome": 7}, "outcome"),
        ({"verifiers": []}, "verifiers"),
        ({"verifiers": None}, "verifiers"),
        ({"max_iterations": 21}, "max_iterations"),
        ({"surprise": 1}, "surprise"),
        ({"consent": "later"}, "consent"),
        ({"model": "nobody/serves-this"}, "nobody/serves-this"),
        ({"model": None}, "model"),
        ({"model": "scripted/free", "budget": {"usd": "1.00"}}, "--budget 50000tokens"),
    ],
)
async def test_a_bad_request_is_a_400_that_names_the_field_and_leaves_nothing(
    world: World, change: dict[str, object], named: str
) -> None:
    async with world.client() as client:
        answer = await client.post("/v1/remits", json={**ASKED, **change})
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]["message"]
    assert await world.remit_count() == 0


async def test_a_program_that_the_image_lacks_is_refused_before_anything_is_spent(world: World) -> None:
    verifiers = [{"type": "command", "command": "no-such-program-at-all --now"}]
    async with world.client() as client:
        answer = await client.post("/v1/remits", json={**ASKED, "verifiers": verifiers})
    assert answer.status_code == 400, answer.text
    assert "no-such-program-at-all" in answer.json()["error"]["message"]
    assert await world.remit_count() == 0


async def test_toolchains_need_the_operator_scope(world: World) -> None:
    async with world.client("rk_plain") as client:
        answer = await client.post("/v1/remits", json={**ASKED, "toolchains": ["/opt"]})
    assert answer.status_code == 403


async def test_unknown_ids_are_not_found(world: World) -> None:
    async with world.client() as client:
        assert (await client.post("/v1/remits", json={**ASKED, "input_id": "input_none"})).status_code == 404
        assert (await client.post("/v1/remits", json={**ASKED, "agent": "agent_none"})).status_code == 404
        assert (await client.get("/v1/remits/remit_none")).status_code == 404


async def test_every_route_hides_another_workspaces_remit(world: World) -> None:
    async with world.client() as client:
        remit_id = (await client.post("/v1/remits", json=ASKED)).json()["id"]
    async with world.client("rk_two") as other:
        for method, path in [
            ("GET", ""),
            ("GET", "/events"),
            ("GET", "/events/stream"),
            ("POST", "/approve"),
            ("POST", "/decline"),
            ("POST", "/interrupt"),
            ("POST", "/resume"),
            ("POST", "/verify"),
            ("POST", "/budget"),
            ("GET", "/check"),
            ("GET", "/receipt"),
            ("GET", "/deliverables"),
            ("GET", "/deliverables/files.tar"),
        ]:
            body = {"usd": "9"} if path == "/budget" else None
            answer = await other.request(method, f"/v1/remits/{remit_id}{path}", json=body)
            assert answer.status_code == 404, (method, path, answer.text)
        assert (await other.get("/v1/remits")).json()["data"] == []
    assert (await world.bench.state(remit_id)).pending == ()


async def test_commands_in_the_wrong_state_are_refused_and_repeating_one_is_fine(world: World) -> None:
    async with world.client() as client, world.bench.running():
        remit_id = (await client.post("/v1/remits", json=ASKED)).json()["id"]
        path = f"/v1/remits/{remit_id}"
        assert (await client.post(f"{path}/verify")).status_code == 400
        assert (await client.get(f"{path}/deliverables")).status_code == 400
        assert (await client.post(f"{path}/resume")).status_code == 200
        assert (await client.post(f"{path}/interrupt", json={"reason": "x"})).status_code == 400
        assert (await client.post(f"{path}/decline", json={"reason": "too dear"})).status_code == 200
        state = await world.bench.ended(remit_id)
        assert (await client.post(f"{path}/approve")).status_code == 400
        nothing = {"data": [], "changed": [], "folders": [], "notes": []}
        assert (await client.get(f"{path}/deliverables")).json() == nothing
    assert state.ended is not None
    assert state.ended.explanation == "too dear"


async def test_a_budget_that_was_reached_is_raised_and_the_stream_passes_over_the_first_end(
    world: World,
) -> None:
    async with world.client() as client, world.bench.running():
        asked = {**ASKED, "budget": {"usd": "0.0001"}, "consent": "given"}
        path = f"/v1/remits/{(await client.post('/v1/remits', json=asked)).json()['id']}"
        early = await client.post(f"{path}/budget", json={"usd": "2"})
        assert (early.status_code, "has not ended" in early.text) == (400, True)
        await world.bench.ended(path.rpartition("/")[2])
        for body, words in [
            ({}, "is empty"),
            ({"usd": "0"}, "more than zero"),
            ({"usd": 2}, "`usd`"),
            ({"euro": "2"}, "euro"),
            ({"tokens": 500}, "there is nothing to raise; give `usd`"),
        ]:
            refused = await client.post(f"{path}/budget", json=body)
            assert (refused.status_code, words in refused.text) == (400, True), refused.text
        raised = await client.post(f"{path}/budget", json={"usd": "2.50"})
        again = await client.post(f"{path}/budget", json={"usd": "2.50"})
        assert raised.status_code == 200
        assert again.status_code in (200, 400)  # it is being raised, or at work already
        lines = (await client.get(f"{path}/events/stream?after=0")).text.splitlines()
        types = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        assert types.count("remit.reopened") == 1
        assert types.count("remit.ended") == 2
        assert types[-1] == "remit.ended"
        remit = (await client.get(path)).json()
        assert (remit["status"], remit["budget"]["usd"], remit["cap"]["usd"]) == ("satisfied", "2.5", "2.5")
        late = await client.post(f"{path}/budget", json={"usd": "9"})
        assert late.status_code == 400
        assert "Start anew: remit do Answer --verify" in late.json()["error"]["message"]


async def test_a_yes_that_names_too_little_is_refused_with_what_to_name(world: World) -> None:
    asked = {**ASKED, "verifiers": [{"type": "command", "command": "true"}]}
    async with world.client() as client, world.bench.running():
        remit_id = (await client.post("/v1/remits", json=asked)).json()["id"]
        path = f"/v1/remits/{remit_id}"
        await world.bench.wait_for(remit_id, "remit.forecast")
        for body in (None, {}, {"despite": ["unseen"]}):
            answer = await client.post(f"{path}/approve", json=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["details"]["error_code"]) == (400, "despite_required")
            assert error["details"]["reasons"] == ["vacuous"]
            assert '{"despite": ["vacuous"]}' in error["message"]
            assert f"remit do --resume {remit_id} --despite vacuous" in error["message"]
        assert (await world.bench.types(remit_id))[-1] == "remit.forecast"
        answer = await client.post(f"{path}/approve", json={"despite": ["vacuous", "drafted"]})
        assert answer.status_code == 200
        await world.bench.ended(remit_id)
        remit = (await client.get(path)).json()
    assert (remit["status"], remit["verified"], remit["vacuous"]) == ("unsatisfied", False, ["true"])
    assert remit["consent"] == {"state": "given", "reasons": [], "despite": ["vacuous", "drafted"]}


async def test_reasons_that_there_are_not_are_refused_by_name(world: World) -> None:
    async with world.client() as client:
        for despite in (["cost"], ["lazy"], [""], "vacuous"):
            answer = await client.post("/v1/remits", json={**ASKED, "despite": despite})
            assert answer.status_code == 400, despite
            assert "despite" in answer.json()["error"]["message"]
        assert await world.remit_count() == 0
        path = f"/v1/remits/{(await client.post('/v1/remits', json=ASKED)).json()['id']}"
        answer = await client.post(f"{path}/approve", json={"despite": ["lazy"]})
        assert answer.status_code == 400
        named = "vacuous, cannot_run, work_unclear, unseen, drafted"
        assert f"`despite[0]`: must be one of {named}" in answer.json()["error"]["message"]
        answer = await client.post(f"{path}/decline", json={"despite": ["vacuous"]})
        assert answer.status_code == 400


async def test_an_early_yes_is_answered_at_once_and_counts(world: World) -> None:
    async with world.client() as client:
        path = f"/v1/remits/{(await client.post('/v1/remits', json=ASKED)).json()['id']}"
        assert (await client.post(f"{path}/approve")).status_code == 200
        async with world.bench.running():
            state = await world.bench.ended(path.rpartition("/")[2])
    assert state.ended is not None
    assert state.ended.verified


async def test_globs_of_the_work_go_to_every_command(world: World) -> None:
    async with world.client() as client:
        given = [{"type": "command", "command": "true", "work": ["a/*"]}]
        made = (await client.post("/v1/remits", json={**ASKED, "verifiers": given, "work": ["b/*"]})).json()
    assert made["work"] == ["b/*"]
    assert (made["verifiers"][0]["work"], made["verifiers"][0]["isolate"]) == (["a/*", "b/*"], False)


async def test_work_cannot_be_isolated_where_sandboxes_have_no_isolation(world: World) -> None:
    async with world.client() as client:
        given = [{"type": "command", "command": "true", "isolate": True}]
        answer = await client.post("/v1/remits", json={**ASKED, "verifiers": given})
    assert answer.status_code == 400
    assert "isolat" in answer.json()["error"]["message"]


async def test_lists_page_and_filter_by_status(world: World) -> None:
    async with world.client() as client:
        ids = [(await client.post("/v1/remits", json=ASKED)).json()["id"] for _ in range(3)]
        first = (await client.get("/v1/remits?limit=2")).json()
        second = (await client.get(f"/v1/remits?limit=2&page={first['next_page']}")).json()
        assert [remit["id"] for remit in first["data"] + second["data"]] == ids[::-1]
        assert (await client.get("/v1/remits?statuses[]=working")).json()["data"] == []
        assert (await client.get("/v1/remits?statuses[]=lazy")).status_code == 400
        assert (await client.get("/v1/remits?colour=red")).status_code == 400


async def test_the_doctor_names_what_is_missing(world: World) -> None:
    async with world.client("rk_operator") as client:
        answer = (await client.get("/v1/doctor")).json()
    models = next(probe for probe in answer["probes"] if probe["name"] == "models")
    assert models["ok"] is False
    assert "ANTHROPIC_API_KEY" in models["mend"]
    assert answer["ok"] is False


async def test_the_doctor_tells_operators_alone_of_the_machine(world: World) -> None:
    async with world.client("rk_one") as client:
        refused = await client.get("/v1/doctor")
    assert refused.status_code == 403
    assert "`operator`" in refused.json()["error"]["message"]


async def test_those_who_ask_the_doctor_at_once_share_what_it_finds(world: World) -> None:
    """40 calls at once make two rounds at most: one that is under way, and one for all who came meanwhile."""
    made: list[str] = []
    create = world.bench.sessions.sandboxes.probe

    class Counted:
        async def probe(self) -> Any:
            made.append("round")
            return await create()

    routes = DoctorRoutes(
        world.bench.services,
        sandboxes=cast("Any", Counted()),  # only asked for its probes
        router=ModelRouter(world.bench.platform.parts.models, aliases={}),
        data_folder=None,
        find_local_servers=no_local_servers,
        probe_credentials=lambda: made.append("all of it") or (),
    )
    transport = StreamingASGITransport(create_app(world.bench.services, routes))
    async with (
        httpx2.AsyncClient(
            transport=transport, base_url="http://remit", headers={"authorization": "Bearer rk_operator"}
        ) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(40):
            group.start_soon(client.get, "/v1/doctor")
    assert made.count("round") == 1
    assert 1 <= made.count("all of it") <= 2


async def test_the_doctor_names_a_blob_that_is_missing_and_what_nobody_has_needed_for_days(
    world: World, tmp_path: Path
) -> None:
    kept, store = world.bench.sessions.kept, world.bench.blobs

    async def probe() -> dict[str, Any]:
        async with world.client("rk_operator") as client:
            probes = (await client.get("/v1/doctor")).json()["probes"]
        return next(probe for probe in probes if probe["name"] == "blobs")

    assert (await probe())["ok"] is True
    left_over = await store.put(b"left over")
    assert (await probe())["ok"] is True, "it is young"
    (path,) = tmp_path.rglob(left_over[2:])
    os.utime(path, (0, 0))
    found = await probe()
    assert found["ok"] is False
    assert "nobody has needed 1 of them" in found["detail"]
    await kept.collect()
    assert (await probe())["ok"] is True
    lost = await kept.put(Principal(workspace_id="wrkspc_one", actor="x"), "sesn_1", b"lost")
    await store.remove([lost], untouched_since_us=2**62)
    found = await probe()
    assert found["ok"] is False
    assert f"sesn_1 needs {lost}" in found["detail"]
    assert "backup" in found["mend"]


async def test_a_rubric_without_a_model_is_graded_by_the_remits_own(world: World) -> None:
    async with world.client() as client, world.bench.running():
        asked = {**ASKED, "verifiers": None, "rubric": "It is right."}
        created = (await client.post("/v1/remits", json=asked)).json()
        await world.bench.wait_for(created["id"], "remit.forecast")
        created = (await client.get(f"/v1/remits/{created['id']}")).json()
    assert created["status"] == "awaiting_consent"
    assert created["verifiers"] == [{"type": "rubric", "rubric": "It is right.", "model": "scripted/dear"}]
    assert created["forecast"]["verification_reserve"]["usd"] > "0"
    assert await world.bench.store.accounts(Principal(workspace_id="wrkspc_one", actor="x"), created["id"])
    assert msgspec.json.encode(created)
