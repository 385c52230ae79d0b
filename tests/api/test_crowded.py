"""More connections than the server takes: whoever comes is told so, in the wire's words, and let go."""

from __future__ import annotations

import resource

import anyio
import httpx2
import pytest
from starlette.responses import PlainTextResponse

from remit.server.edge.listening import OPEN_FILES_MAX, listen_on_port, raise_open_files, serving, url_of

pytestmark = pytest.mark.anyio


async def test_one_connection_too_many_is_answered_529_and_closed() -> None:
    listener = listen_on_port("127.0.0.1", 0)
    base_url = url_of("127.0.0.1", listener)
    with anyio.fail_after(10):
        async with (
            serving(PlainTextResponse("fine"), listener, connections_max=1),
            httpx2.AsyncClient(base_url=base_url) as first,
        ):
            assert (await first.get("/")).text == "fine"
            async with httpx2.AsyncClient(base_url=base_url) as second:
                refused = await second.get("/v1/sessions")
            assert (await first.get("/")).text == "fine"
    assert refused.status_code == 529
    assert refused.json()["error"]["type"] == "overloaded_error"
    assert refused.headers["retry-after"] == "5"
    assert refused.headers["connection"] == "close"


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_open_files() == min(before[1], OPEN_FILES_MAX)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(before[1], OPEN_FILES_MAX), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
