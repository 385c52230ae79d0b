"""/v1/sessions/{id}/accounts: what is spent, held and left of a session, from the ledger."""

from __future__ import annotations

from remit.schema import sessions
from remit.schema.lists import ListOf
from remit.schema.operation import NoQuery
from remit.server.routes import Call, handles
from remit.server.services import Services
from remit.values import Account


class AccountRoutes:
    """A session's accounts, in the receipt's form."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @handles(sessions.ACCOUNTS)
    async def accounts(self, call: Call[None, NoQuery], session_id: str) -> ListOf[sessions.Account]:
        loaded = await self._services.states.load_all(call.principal, session_id, with_deleted=True)
        return {"data": [_view(account) for account in loaded.accounts], "next_page": None}


def _view(account: Account) -> sessions.Account:
    return {
        "purpose": account.purpose,
        "unit": account.unit,
        "cap": account.cap,
        "spent": account.spent,
        "held": account.held,
        "granted": account.granted,
        "stopped": account.is_stopped,
    }
