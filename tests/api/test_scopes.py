"""What a key may do is decided by its scopes, on every route there is: asked of the application itself, so that a new
route is tried without a line here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest

from api.test_workspaces import BODIES, Two, make_things
from api.whole import whole_platform
from remit.client.asgi import StreamingASGITransport
from remit.schema.operation import AnyOperation
from remit.server.app import App
from remit.testing.platform import GivenKey

pytestmark = pytest.mark.anyio

OF_THE_OPERATOR = ("/v1/keys", "/v1/doctor", "/metrics")
SHOWN = [
    *(
        f"/v1/sessions/{{session_id}}{rest}"
        for rest in ("", "/events", "/events/stream", "/stream", "/accounts", "/why")
    ),
    "/v1/streams/{stream_id}/why",
]
"""What a session's page is made of."""


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    async with whole_platform(tmp_path, is_at_work=False) as assembled:
        app = assembled.api
        assert isinstance(app, App)
        two = Two(app, await make_things(app))
        for name, scopes in (
            ("read", ("read",)),
            ("link", (f"read:{two.things['session_id']}",)),
            ("operator", ("operator",)),
            ("nothing", ()),
        ):
            await assembled.give(GivenKey(name=name, scopes=scopes))
        yield two


async def status(two: Two, key: str, method: str, operation: AnyOperation) -> int:
    """What a key is answered; streams are left as soon as they begin."""
    body = BODIES.get(("POST" if method == "PATCH" else method, operation.path))
    with anyio.fail_after(10):
        async with (
            httpx2.AsyncClient(
                transport=StreamingASGITransport(two.app),
                base_url="http://remit",
                headers={"authorization": f"Bearer rk_{key}"},
            ) as http,
            http.stream(method, two.path(operation), json=body) as answer,
        ):
            return answer.status_code


async def test_a_read_key_may_look_and_nothing_else(two: Two) -> None:
    for method, operation in two.operations:
        found = await status(two, "read", method, operation)
        is_allowed = method == "GET" and not operation.path.startswith(OF_THE_OPERATOR)
        assert (found != 403) is is_allowed, f"{method} {operation.path}: {found}"


async def test_a_links_token_looks_at_what_its_page_shows_and_at_nothing_else(two: Two) -> None:
    shown = 0
    for method, operation in two.operations:
        found = await status(two, "link", method, operation)
        is_allowed = method == "GET" and operation.path in SHOWN
        assert found == (200 if is_allowed else 403), f"{method} {operation.path}: {found}"
        shown += is_allowed
    assert shown == len(SHOWN)


@pytest.mark.parametrize("key", ["operator", "nothing"])
async def test_a_key_without_a_workspaces_scope_opens_nothing_of_it(two: Two, key: str) -> None:
    for method, operation in two.operations:
        found = await status(two, key, method, operation)
        is_the_machines = operation.path.startswith((*OF_THE_OPERATOR, "/v1/caps", "/v1/reconcile"))
        assert (found != 403) is (is_the_machines and key == "operator"), (
            f"{method} {operation.path}: {found}"
        )
