"""/v1/models: what can be called here now. Providers are asked seldom, not for each listing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.types import ASGIApp

from remit.clock import Clock, rfc3339
from remit.errors import InvalidRequest, NotFound
from remit.gateway.routing import ModelRouter
from remit.ledger.prices import listed_model
from remit.schema import models
from remit.schema.models import ModelPaging, encode_list_by_id
from remit.schema.operation import NoQuery
from remit.server.operations.requests import encoded_response, json_response
from remit.server.operations.router import Call, handles
from remit.values import JsonObject, ModelInfo

KEPT_SECONDS = 300.0
RELEASE_UNKNOWN = rfc3339(0)
"""The wire's own way to say that nobody knows."""
_UNSUPPORTED: JsonObject = {"supported": False}


class ModelList:
    """The router's models, kept for a while; one question to the providers at a time."""

    def __init__(self, router: ModelRouter, clock: Clock) -> None:
        self._router = router
        self._clock = clock
        self._models: Sequence[ModelInfo] = ()
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def all(self) -> Sequence[ModelInfo]:
        """List the models as the router orders them; an id stands once."""
        async with self._reading:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at >= KEPT_SECONDS:
                found = await self._router.models()
                self._models = list({info.id: info for info in reversed(found)}.values())[::-1]
                self._read_at = self._clock.monotonic()
            return self._models


class ModelRoutes:
    """List and retrieve."""

    def __init__(self, listed: ModelList) -> None:
        self._models = listed

    @handles(models.LIST)
    async def list(self, call: Call[None, ModelPaging]) -> ASGIApp:
        limit, lifecycles = call.query.limit, call.query.lifecycle
        after_id, before_id = call.query.after_id, call.query.before_id
        if after_id is not None and before_id is not None:
            raise InvalidRequest("`before_id`: goes without `after_id`; give one of them.")
        shown = [
            model
            for model in map(model_to_wire, await self._models.all())
            if not lifecycles or model["lifecycle"] in lifecycles
        ]
        ids = [str(model["id"]) for model in shown]
        if before_id is not None:
            end = _place(ids, before_id, "before_id")
            start = max(0, end - limit)
            has_more = start > 0
        else:
            start = _place(ids, after_id, "after_id") + 1 if after_id is not None else 0
            end = start + limit
            has_more = end < len(shown)
        items = [msgspec.json.encode(model) for model in shown[start:end]]
        return encoded_response(encode_list_by_id(items, ids[start:end], has_more=has_more))

    @handles(models.RETRIEVE)
    async def retrieve(self, call: Call[None, NoQuery], model_id: str) -> ASGIApp:
        for info in await self._models.all():
            if info.id == model_id:
                return json_response(model_to_wire(info))
        raise NotFound(f"No model {model_id!r} can be called here; GET /v1/models lists those that can.")


def model_to_wire(info: ModelInfo) -> JsonObject:
    """The ModelInfo object of the API. What nobody has told us is null."""
    listed = listed_model(info.id)
    is_deprecated = listed is not None and listed.is_deprecated
    described = info.described
    capabilities = described.get("capabilities")
    return {
        "id": info.id,
        "type": "model",
        "display_name": info.display_name,
        "created_at": described.get("created_at") or RELEASE_UNKNOWN,
        "lifecycle": described.get("lifecycle") or ("deprecated" if is_deprecated else "active"),
        "deprecated_at": described.get("deprecated_at"),
        "retires_at": described.get("retires_at"),
        "max_input_tokens": (listed.context_tokens if listed is not None else None) or info.context_tokens,
        "max_tokens": info.max_output_tokens,
        "line": described.get("line"),
        "capabilities": _as_served(capabilities) if isinstance(capabilities, dict) else None,
        "allowed_fallback_models": [],
    }


def _as_served(capabilities: JsonObject) -> JsonObject:
    """Without what is refused here, whatever the model could do: what runs, and is billed, at the provider by itself."""
    edits = capabilities.get("context_management")
    return {
        **capabilities,
        "batch": _UNSUPPORTED,
        "code_execution": _UNSUPPORTED,
        "server_tools": {**_UNSUPPORTED, "web_search": _UNSUPPORTED, "code_execution": _UNSUPPORTED},
        "compaction": {**_UNSUPPORTED, "summarize": _UNSUPPORTED},
        "context_management": {
            **(edits if isinstance(edits, dict) else {}),
            "compact_20260112": _UNSUPPORTED,
        },
    }


def _place(ids: Sequence[str], id: str, field: str) -> int:
    try:
        return ids.index(id)
    except ValueError:
        raise InvalidRequest(
            f"`{field}`: {id!r} is not in this list; use `first_id` or `last_id` of a former answer."
        ) from None
