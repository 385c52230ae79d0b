"""/v1/sessions/{id}/accounts: what is spent, held and left of a session, from the ledger."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.errors import NotFound
from remit.server.auth import principal_of
from remit.server.requests import Query, json_response
from remit.server.services import Services
from remit.values import Account, JsonObject


class AccountRoutes:
    """A session's accounts, in the receipt's form."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        return [Route("/v1/sessions/{session_id}/accounts", self.accounts, methods=["GET"])]

    async def accounts(self, request: Request) -> Response:
        Query(request)
        store, principal = self._services.sessions, principal_of(request)
        session_id = str(request.path_params["session_id"])
        missing = NotFound(f"No session {session_id!r} in this workspace.")
        try:
            read = await store.read_stream(principal, session_id, limit=0)
        except NotFound as error:
            raise missing from error
        if read.head.kind != "session":
            raise missing
        return json_response({"data": [_view(account) for account in read.accounts], "next_page": None})


def _view(account: Account) -> JsonObject:
    return {
        "purpose": account.purpose,
        "unit": account.unit,
        "cap": account.cap,
        "spent": account.spent,
        "held": account.held,
        "granted": account.granted,
        "stopped": account.is_stopped,
    }
