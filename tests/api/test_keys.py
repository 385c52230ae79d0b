"""Keys and links: what each may call, that secrets are shown once, and that what is revoked or expired is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from api.samples import HELLO
from api.whole import whole_platform
from remit.testing.platform import GivenKey, Options, PlatformUnderTest
from remit.values import KeyRow

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:8400"


@asynccontextmanager
async def platform(folder: Path, public_url: str | None = URL) -> AsyncIterator[PlatformUnderTest]:
    served: Options = {"is_at_work": False}
    if public_url is not None:
        served["public_url"] = public_url
    async with whole_platform(folder, **served) as assembled:
        await put_key(assembled, "rk_operator", "operator", "*")
        yield assembled


async def put_key(here: PlatformUnderTest, secret: str, *scopes: str, **fields: Any) -> KeyRow:
    row = GivenKey(name=secret.removeprefix("rk_"), scopes=scopes).row()
    row = msgspec.structs.replace(row, id=f"apikey_{secret}", name=secret, **fields)
    await here.services.catalog.put_key(row)
    return row


def client(here: PlatformUnderTest, key: str = "rk_operator") -> httpx2.AsyncClient:
    return here.http(key)


async def make_session(assembled: PlatformUnderTest, key: str = "rk_one") -> str:
    async with client(assembled, key) as http:
        agent = (await http.post("/v1/agents", json={"name": "a", "model": "scripted/inline"})).json()
        environment = (await http.post("/v1/environments", json={"name": "e"})).json()
        body = {"agent": agent["id"], "environment_id": environment["id"], "initial_events": [HELLO]}
        return str((await http.post("/v1/sessions", json=body)).json()["id"])


async def test_a_key_works_until_it_is_revoked_and_its_secret_is_shown_once(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled, client(assembled) as operator:
        made = (await operator.post("/v1/keys", json={"name": "ci"})).json()
        secret = made.pop("secret")
        assert secret.startswith("rk_")
        assert (made["scopes"], made["workspace_id"], made["expires_at"]) == (["*"], "wrkspc_one", None)
        listed = (await operator.get("/v1/keys")).json()["data"]
        assert made in listed
        assert secret not in str(listed)
        stored = await assembled.services.catalog.list_keys("wrkspc_one")
        assert secret not in str(stored)
        async with client(assembled, secret) as http:
            assert (await http.get("/v1/agents")).status_code == 200
            revoked = (await operator.post(f"/v1/keys/{made['id']}/revoke")).json()
            assert revoked["revoked_at"] is not None
            assert (await http.get("/v1/agents")).status_code == 401
        again = (await operator.post(f"/v1/keys/{made['id']}/revoke")).json()
        assert again == revoked


async def test_keys_are_listed_page_by_page_newest_first(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled, client(assembled) as http:
        made = [(await http.post("/v1/keys", json={"name": f"k{n}"})).json()["id"] for n in range(5)]
        found: list[str] = []
        page: str | None = None
        while True:
            answer = (
                await http.get("/v1/keys", params={"limit": 2} | ({"page": page} if page else {}))
            ).json()
            assert len(answer["data"]) <= 2
            found += [key["id"] for key in answer["data"]]
            page = answer["next_page"]
            if page is None:
                break
        assert [id for id in found if id in made] == made[::-1]
        assert len(found) == len(set(found)) == 7


async def test_a_key_of_another_workspace_is_made_listed_and_revoked_by_naming_it(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled, client(assembled) as operator:
        body = {"name": "theirs", "workspace_id": "wrkspc_two"}
        made = (await operator.post("/v1/keys", json=body)).json()
        session_id = await make_session(assembled)
        async with client(assembled, made["secret"]) as http:
            assert (await http.get(f"/v1/sessions/{session_id}")).status_code == 404
        ours = (await operator.get("/v1/keys")).json()["data"]
        theirs = (await operator.get("/v1/keys", params={"workspace_id": "wrkspc_two"})).json()["data"]
        assert made["id"] not in [key["id"] for key in ours]
        assert made["id"] in [key["id"] for key in theirs]
        path = f"/v1/keys/{made['id']}/revoke"
        assert (await operator.post(path)).status_code == 404
        assert (await operator.post(path, json={"workspace_id": "wrkspc_two"})).status_code == 200


async def test_only_an_operators_key_manages_keys(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled, client(assembled, "rk_one") as http:
        for method, path, body in (
            ("POST", "/v1/keys", {"name": "x"}),
            ("GET", "/v1/keys", None),
            ("POST", "/v1/keys/apikey_one/revoke", None),
        ):
            answer = await http.request(method, path, json=body)
            assert answer.status_code == 403, path
            assert "operator" in answer.json()["error"]["message"]
        foreign = await http.post("/v1/keys/apikey_two/revoke", json={"workspace_id": "wrkspc_two"})
        assert foreign.status_code == 403


async def test_nobody_revokes_the_key_they_ask_with(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled, client(assembled) as http:
        answer = await http.post("/v1/keys/apikey_rk_operator/revoke")
        assert answer.status_code == 400
        assert "another operator" in answer.json()["error"]["message"]
        assert (await http.get("/v1/keys")).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "`name`"),
        ({"name": ""}, "`name`"),
        ({"name": "x", "scopes": []}, "`scopes`"),
        ({"name": "x", "scopes": ["admin"]}, "`scopes"),
        ({"name": "x", "scopes": ["read:agent_1"]}, "`scopes"),
        ({"name": "x", "expires_in_seconds": 5}, "`expires_in_seconds`"),
        ({"name": "x", "workspace_id": "elsewhere"}, "`workspace_id`"),
        ({"name": "x", "kind": "session"}, "`kind`"),
    ],
)
async def test_a_key_that_cannot_be_made_is_refused_by_field(
    tmp_path: Path, body: dict[str, Any], named: str
) -> None:
    async with platform(tmp_path) as assembled, client(assembled) as http:
        answer = await http.post("/v1/keys", json=body)
        assert answer.status_code == 400
        assert named in answer.json()["error"]["message"]


async def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled:
        await put_key(assembled, "rk_old", "*", expires_at_us=2)
        async with client(assembled, "rk_old") as http:
            answer = await http.get("/v1/agents")
        assert answer.status_code == 401
        assert "expired" in answer.json()["error"]["message"]


async def test_a_read_key_looks_at_everything_and_changes_nothing(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled:
        session_id = await make_session(assembled)
        await put_key(assembled, "rk_reader", "read")
        async with client(assembled, "rk_reader") as http:
            for path in ("/v1/agents", "/v1/sessions", f"/v1/sessions/{session_id}/events"):
                assert (await http.get(path)).status_code == 200, path
            assert (await http.get("/v1/keys")).status_code == 403
            for path in ("/v1/agents", f"/v1/sessions/{session_id}/events", "/v1/links"):
                assert (await http.post(path, json={})).status_code == 403, path
            assert (await http.delete(f"/v1/sessions/{session_id}")).status_code == 403


async def test_a_link_opens_one_stream_and_nothing_else(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled:
        session_id, other = await make_session(assembled), await make_session(assembled)
        async with client(assembled, "rk_one") as http:
            link = (await http.post("/v1/links", json={"id": session_id})).json()
        page, _, token = link["url"].partition("?token=")
        assert page == f"{URL}/sessions/{session_id}"
        assert link["scopes"] == [f"read:{session_id}"]
        async with client(assembled, token) as http:
            for path in ("", "/events", "/accounts"):
                assert (await http.get(f"/v1/sessions/{session_id}{path}")).status_code == 200, path
            for path in (f"/v1/sessions/{other}", "/v1/sessions", "/v1/agents", "/v1/doctor", "/v1/keys"):
                assert (await http.get(path)).status_code == 403, path
            answer = await http.post(f"/v1/sessions/{session_id}/events", json={"events": [HELLO]})
            assert answer.status_code == 403
            assert (await http.post("/v1/links", json={})).status_code == 403


async def test_no_link_is_made_to_what_the_caller_cannot_see_or_where_no_pages_are(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled:
        session_id = await make_session(assembled)
        async with client(assembled, "rk_two") as http:
            assert (await http.post("/v1/links", json={"id": session_id})).status_code == 404
            assert (await http.post("/v1/links", json={"id": "agent_1"})).status_code == 400
    async with (
        platform(tmp_path / "other", public_url=None) as assembled,
        client(assembled, "rk_one") as http,
    ):
        answer = await http.post("/v1/links", json={})
        assert answer.status_code == 400
        assert answer.json()["error"]["details"]["error_code"] == "pages_not_served"


async def test_expired_links_are_forgotten_when_another_is_made(tmp_path: Path) -> None:
    async with platform(tmp_path) as assembled, client(assembled, "rk_one") as http:
        await put_key(assembled, "rl_old", "read", kind="link", expires_at_us=2)
        await http.post("/v1/links", json={})
        kept = await assembled.services.catalog.list_keys("wrkspc_one")
        assert [key.kind for key in kept].count("link") == 1
        assert "apikey_rl_old" not in [key.id for key in kept]
