"""/v1/caps: how much a key or a workspace may spend per period, and how much of it is left."""

from __future__ import annotations

from msgspec import UNSET

from remit.clock import rfc3339
from remit.errors import InvalidRequest, NotFound
from remit.gateway.caps import Caps
from remit.ledger.caps import WORKSPACE, Cap, CapName, begins_anew, label
from remit.remits.money import format_usd, parse_usd
from remit.schema import caps as wire
from remit.schema.lists import ListOf
from remit.schema.operation import NoQuery
from remit.server.edge.scopes import require_operator
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.routes.keys import workspace_named, workspace_within
from remit.values import Principal, Unit


class CapRoutes:
    """Set and list. A key sees the caps of its own workspace; an operator's sets them, and sees those of others."""

    def __init__(self, services: Services, caps: Caps) -> None:
        self._services = services
        self._caps = caps

    @handles(wire.SET)
    async def set(self, call: Call[wire.CapSet, NoQuery]) -> ListOf[wire.Cap]:
        params = call.body
        wanted: dict[Unit, int | None] = {}
        if params.usd is not UNSET:
            wanted["nano_usd"] = None if params.usd is None else _amount(params.usd)
        if params.tokens is not UNSET:
            wanted["tokens"] = params.tokens
        if not wanted:
            raise InvalidRequest(
                '`usd`: give {"usd": "5.00"}, {"tokens": 50000} or both; null takes a cap away.'
            )
        of = workspace_within(call.principal, params.workspace_id)
        if params.key_id is not None:
            await self._require_key(of, params.key_id)
        name = CapName(params.key_id or WORKSPACE, params.period)
        for unit, amount in wanted.items():
            await self._caps.set(of, name, unit, amount)
        return await self._answer(of)

    @handles(wire.LIST)
    async def list(self, call: Call[None, wire.CapsOf]) -> ListOf[wire.Cap]:
        principal, named = call.principal, call.query.workspace_id
        if named is not None and named != principal.workspace_id:
            require_operator(principal)
        return await self._answer(
            workspace_within(principal, None if named is None else workspace_named(named))
        )

    async def _answer(self, principal: Principal) -> ListOf[wire.Cap]:
        caps = await self._caps.of(principal)
        data = [cap_view(cap, self._caps, principal.workspace_id) for cap in caps]
        return {"data": data, "next_page": None}

    async def _require_key(self, principal: Principal, key_id: str) -> None:
        keys = await self._services.catalog.list_keys(principal.workspace_id)
        if not any(key.id == key_id for key in keys):
            raise NotFound(f"`key_id`: no key {key_id!r} in workspace {principal.workspace_id!r}.")


def cap_view(cap: Cap, caps: Caps, workspace_id: str) -> wire.Cap:
    """A cap as the API shows it, with the period that runs. Dollars are exact decimals, as text."""
    at, account = caps.now(), cap.account
    anew_us = int(begins_anew(cap.name.period, at).timestamp() * 1_000_000)
    left = min(account.remaining or 0, max(0, cap.amount - account.spent - account.held - account.granted))

    def shown(amount: int) -> str | int:
        return amount if cap.unit == "tokens" else format_usd(amount)

    return {
        "type": "cap",
        "workspace_id": workspace_id,
        "key_id": None if cap.name.subject == WORKSPACE else cap.name.subject,
        "period": cap.name.period,
        "now": label(cap.name.period, at),
        "begins_anew_at": rfc3339(anew_us),
        "unit": "tokens" if cap.unit == "tokens" else "usd",
        "cap": shown(cap.amount),
        "spent": shown(account.spent),
        "held": shown(account.held + account.granted),
        "left": shown(left),
        "stopped": account.is_stopped,
    }


def _amount(usd: str) -> int:
    amount = parse_usd(usd)
    if not amount:
        raise InvalidRequest(
            '`usd`: must be more than zero, such as "5.00"; null takes the cap away, and a revoked key spends nothing.'
        )
    return amount
