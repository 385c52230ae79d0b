"""`GET /v1/openapi.json`: what every route takes, made from the schema's Structs and the table of operations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.server.operations import OPERATIONS, Operation
from remit.server.refused import is_refusal
from remit.server.requests import Query, encoded_response

JsonSchema = dict[str, Any]  # Any: JSON

DESCRIPTION = (
    "Agents, environments, sessions, files, models and messages speak the public wire of managed agents; remits, keys "
    "and links are Remit's own (docs/api.md). Unknown fields and query parameters are a 400 that names them. What "
    "official clients can call and is not served is refused by name: docs/compatibility.md."
)

_PARAMETERS: dict[str, JsonSchema] = {
    "limit": {"type": "integer", "minimum": 1},
    "page": {"type": "string", "minLength": 1},
    "order": {"type": "string", "enum": ["asc", "desc"]},
    "include_archived": {"type": "boolean"},
    "version": {"type": "integer", "minimum": 1},
    "agent_version": {"type": "integer", "minimum": 1},
}
_TEXT: JsonSchema = {"type": "string", "minLength": 1}
_TIME: JsonSchema = {"type": "string", "format": "date-time"}
_TEXTS: JsonSchema = {"type": "array", "items": {"type": "string"}}
_NOT_DESCRIBED = Operation(summary="Not described")
"""A route that is not in the table yet; a test names it."""


class ErrorDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """More than the message; `error_code` is stable."""

    error_code: str | None = None


class ErrorBody(msgspec.Struct, kw_only=True):
    """What went wrong; the message names the field and what to do."""

    type: str
    message: str
    details: ErrorDetails | msgspec.UnsetType = msgspec.UNSET


class Error(msgspec.Struct, kw_only=True, tag="error", tag_field="type"):
    """Every failure."""

    error: ErrorBody
    request_id: str


class OpenApiRoutes:
    """The document, made once, of these routes and its own."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._encoded: bytes | None = None

    def routes(self) -> list[Route]:
        return [Route("/v1/openapi.json", self.document, methods=["GET"])]

    async def document(self, request: Request) -> Response:
        Query(request)
        if self._encoded is None:
            self._encoded = msgspec.json.encode(openapi_document([*self._routes, *self.routes()]))
        return encoded_response(self._encoded)


def openapi_document(routes: Sequence[Route]) -> JsonSchema:
    """The document of all routes that are served."""
    served = [(method, route.path) for route in routes if not is_refusal(route) for method in _methods(route)]
    bodies = {key: operation for key in served if (operation := operation_of(*key)).body is not None}
    types = [Error, *(operation.body for operation in bodies.values())]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    body_schemas = dict(zip(bodies, schemas[1:], strict=True))
    paths: dict[str, JsonSchema] = {}
    for method, path in sorted(served):
        entry = _entry(method, path, operation_of(method, path), body_schemas.get((method, path)))
        paths.setdefault(_plain(path), {})[method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "Remit", "version": "1", "description": DESCRIPTION},
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "schemas": dict(sorted({**components, **_LISTS}.items())),
        },
    }


def operation_of(method: str, path: str) -> Operation:
    """What the table says of a route; PATCH is another word for POST."""
    key = f"{'POST' if method == 'PATCH' else method} {_plain(path)}"
    return OPERATIONS.get(key, _NOT_DESCRIBED)


def _methods(route: Route) -> list[str]:
    return sorted((route.methods or set()) - {"HEAD"})


def _plain(path: str) -> str:
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)


def _entry(method: str, path: str, operation: Operation, body: JsonSchema | None) -> JsonSchema:
    parameters: list[JsonSchema] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT}
        for name in re.findall(r"{(\w+)}", _plain(path))
    ]
    parameters += [{"name": name, "in": "query", "schema": _parameter(name)} for name in operation.query]
    entry: JsonSchema = {
        "operationId": f"{method.lower()}{re.sub(r'[^a-z0-9_]+', '_', _plain(path))}".rstrip("_"),
        "summary": operation.summary,
        "tags": [path.removeprefix("/v1").split("/")[1]],
        "responses": {
            "200": {"description": HTTPStatus.OK.phrase, "content": _answer(operation)},
            "default": {
                "description": "It failed",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if parameters:
        entry["parameters"] = parameters
    content = _content(operation, body)
    if content is not None:
        entry["requestBody"] = {"required": not operation.is_body_optional, "content": content}
    return entry


def _parameter(name: str) -> JsonSchema:
    if name.endswith("[]"):
        return _TEXTS
    return _TIME if name.startswith("created_at[") else _PARAMETERS.get(name, _TEXT)


def _content(operation: Operation, body: JsonSchema | None) -> JsonSchema | None:
    if operation.upload == "tar":
        tar = {"schema": {"type": "string", "format": "binary"}}
        return dict.fromkeys(("application/x-tar", "application/octet-stream"), tar)
    if operation.upload == "multipart":
        properties = {
            "file": {"type": "string", "format": "binary"},
            "expires_in_seconds": {"type": "integer", "minimum": 1},
        }
        schema = {"type": "object", "properties": properties, "required": ["file"]}
        return {"multipart/form-data": {"schema": schema}}
    schema = body if body is not None else operation.body_schema
    return {"application/json": {"schema": schema}} if schema is not None else None


def _answer(operation: Operation) -> JsonSchema:
    events: JsonSchema = {"text/event-stream": {"schema": {"type": "string"}}}
    match operation.answer:
        case "event_stream":
            return events
        case "bytes":
            return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        case "list" | "list_both_ways" | "list_by_id":
            name = {"list": "List", "list_both_ways": "ListBothWays", "list_by_id": "ListById"}[
                operation.answer
            ]
            return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        case "object":
            return {"application/json": {"schema": {"type": "object"}}}
        case "either":
            return {"application/json": {"schema": {"type": "object"}}, **events}


def _list(description: str, *cursors: str, **more: JsonSchema) -> JsonSchema:
    cursor: JsonSchema = {"type": ["string", "null"]}
    properties = {
        "data": {"type": "array", "items": {"type": "object"}},
        **dict.fromkeys(cursors, cursor),
        **more,
    }
    return {
        "title": description,
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
    }


_LISTS: dict[str, JsonSchema] = {
    "List": _list("A page of a list", "next_page"),
    "ListBothWays": _list("A page that can also be turned back", "next_page", "prev_page"),
    "ListById": _list("A page between two ids", "first_id", "last_id", has_more={"type": "boolean"}),
}
