"""The table of kinds of streams that a platform has."""

from __future__ import annotations

from msgspec.structs import replace

from remit.deployments.kind import DEPLOYMENT
from remit.gateway.workspace_stream import WORKSPACE
from remit.interfaces import Prices
from remit.remits.kind import REMIT
from remit.remits.receipt import make_receipt
from remit.remits.state import RemitState
from remit.sessions.kind import SESSION
from remit.streams.kinds import Sight, StreamKinds
from remit.values import JsonObject

KINDS = StreamKinds([REMIT, DEPLOYMENT, SESSION, WORKSPACE])
"""Parents before their children."""


def stream_kinds(prices: Prices) -> StreamKinds:
    """Return the kinds of streams, with the receipt of remits, which tells prices."""

    async def receipt(sight: Sight[RemitState]) -> JsonObject:
        return await make_receipt(sight.store, sight.principal, sight.head.stream_id, prices)

    return KINDS.with_kind(replace(REMIT, receipt=receipt))
