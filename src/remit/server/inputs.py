"""POST /v1/remits/inputs: a tar, read as it arrives."""

from __future__ import annotations

from remit.errors import InvalidRequest
from remit.remits.inputs import Inputs, input_to_wire
from remit.schema import remits
from remit.schema.operation import NoQuery
from remit.server.requests import pieces
from remit.server.routes import Call, handles

CONTENT_TYPES = frozenset({"application/x-tar", "application/tar", "application/octet-stream"})


class InputRoutes:
    """Uploads."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    @handles(remits.UPLOAD)
    async def upload(self, call: Call[None, NoQuery]) -> remits.RemitInput:
        kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in CONTENT_TYPES:
            raise InvalidRequest(f"`content-type`: must be application/x-tar, not {kind or 'missing'!r}.")
        resource = await self._inputs.store(call.principal, pieces(call.request))
        return input_to_wire(resource)
