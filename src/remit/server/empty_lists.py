"""Lists of what cannot be made here: truly empty, so that a program that only looks for something of its own goes on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.schema.lists import LIMIT_DEFAULT, LIMIT_MAX, encode_list
from remit.server.cursors import decode_list_cursor
from remit.server.operations import OPERATIONS
from remit.server.requests import Query, encoded_response

LIMITS_MAX = {
    "/v1/deployment_runs": 1_000,
    "/v1/deployments": LIMIT_MAX,
    "/v1/memory_stores": LIMIT_MAX,
    "/v1/skills": 1_000,
    "/v1/vaults": LIMIT_MAX,
}
"""The lists, and how much of each may be asked for at once. Making one of these things is refused by name."""
_FLAGS = frozenset({"include_archived", "has_error"})


class EmptyLists:
    """GET of each of these paths."""

    def routes(self) -> list[Route]:
        return [Route(path, self.list, methods=["GET"]) for path in LIMITS_MAX]

    async def list(self, request: Request) -> Response:
        """Nothing; a query that the list does not take is refused as anywhere."""
        path: str = request.scope["path"]
        names = [name.removesuffix("[]") for name in OPERATIONS[f"GET {path}"].query]
        query = Query(request, names)
        query.number("limit", minimum=1, maximum=LIMITS_MAX[path], default=LIMIT_DEFAULT)
        for name in names:
            if name in _FLAGS:
                query.flag(name)
            elif name.startswith("created_at"):
                query.time_us(name)
            elif name == "page" and (text := query.text(name)) is not None:
                decode_list_cursor(text, list=path, is_ascending=False)
            elif name != "limit":
                query.text(name)
        return encoded_response(encode_list((), None))
