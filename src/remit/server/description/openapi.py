"""`GET /v1/openapi.json`: what every route takes, made of their declarations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.types import ASGIApp

from remit.schema.operation import AnyOperation, Events, NoQuery, Operation
from remit.server.operations.query import query_names
from remit.server.operations.requests import encoded_response
from remit.server.operations.router import Call, Route, handles

JsonSchema = dict[str, Any]  # Any: JSON

DESCRIPTION = (
    "Agents, environments, sessions, files, models and messages speak the public wire of managed agents; remits, keys "
    "and links are Remit's own (docs/api.md). Unknown fields and query parameters are a 400 that names them. What "
    "official clients can call and is not served is refused by name: docs/compatibility.md."
)

_TEXT: JsonSchema = {"type": "string", "minLength": 1}


class ErrorDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """More than the message; `error_code` is stable."""

    error_code: str | None = None


class ErrorBody(msgspec.Struct, kw_only=True):
    """The error of an answer; the message names the field and what to do."""

    type: str
    message: str
    details: ErrorDetails | msgspec.UnsetType = msgspec.UNSET


class Error(msgspec.Struct, kw_only=True, tag="error", tag_field="type"):
    """Every failure."""

    error: ErrorBody
    request_id: str


DOCUMENT = Operation("GET", "/v1/openapi.json", "This document", answer=JsonSchema)


class OpenApiRoutes:
    """The document, made once, of these routes and its own."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._operations = [*(route.operation for route in routes), DOCUMENT]
        self._encoded: bytes | None = None

    @handles(DOCUMENT)
    async def document(self, call: Call[None, NoQuery]) -> ASGIApp:
        if self._encoded is None:
            self._encoded = msgspec.json.encode(openapi_document(self._operations))
        return encoded_response(self._encoded)


def openapi_document(operations: Iterable[AnyOperation]) -> JsonSchema:
    """The document of all operations that are described."""
    shown = sorted((one for one in operations if one.is_described), key=lambda one: (one.path, one.method))
    types = [Error, *(type for one in shown for type in _described_types(one))]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {id(type): schema for type, schema in zip(types, schemas, strict=True)}
    paths: dict[str, JsonSchema] = {}
    for operation in shown:
        for method in operation.methods:
            entry = _entry(method, operation, schema_of)
            paths.setdefault(operation.plain_path, {})[method.lower()] = entry
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
            "schemas": dict(sorted(components.items())),
        },
    }


def _described_types(operation: AnyOperation) -> Iterator[Any]:  # Any: types of all sorts
    if operation.body is not None and operation.body_schema is None:
        yield operation.body
    if operation.answer not in (bytes, Events):
        yield operation.answer


def _entry(method: str, operation: AnyOperation, schema_of: Mapping[int, JsonSchema]) -> JsonSchema:
    parameters: list[JsonSchema] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in operation.path_parameters
    ]
    parameters += [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in query_names(operation.query).items()
    ]
    path = operation.plain_path
    entry: JsonSchema = {
        "operationId": f"{method.lower()}{re.sub(r'[^a-z0-9_]+', '_', path)}".rstrip("_"),
        "summary": operation.summary,
        "tags": [path.removeprefix("/v1").split("/")[1]],
        "responses": {
            "200": {"description": HTTPStatus.OK.phrase, "content": _answer(operation, schema_of)},
            "default": {
                "description": "It failed",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if operation.scope == "anybody":
        entry["security"] = []
    if parameters:
        entry["parameters"] = parameters
    content = _content(operation, schema_of)
    if content is not None:
        entry["requestBody"] = {"required": not operation.is_body_optional, "content": content}
    return entry


def _content(operation: AnyOperation, schema_of: Mapping[int, JsonSchema]) -> JsonSchema | None:
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
    schema = operation.body_schema or schema_of.get(id(operation.body))
    return {"application/json": {"schema": schema}} if schema is not None else None


def _answer(operation: AnyOperation, schema_of: Mapping[int, JsonSchema]) -> JsonSchema:
    events: JsonSchema = {"text/event-stream": {"schema": {"type": "string"}}}
    if operation.answer is Events:
        return events
    if operation.answer is bytes:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "application/json": {"schema": schema_of[id(operation.answer)]},
        **(events if operation.also_streams else {}),
    }
