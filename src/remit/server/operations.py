"""What each route takes and answers, for the OpenAPI document. A test asks every route whether this is true."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from remit.schema.agents import AgentCreate, AgentUpdate
from remit.schema.caps import CapSet, Reconcile
from remit.schema.environments import EnvironmentCreate, EnvironmentUpdate
from remit.schema.events import SendEvents
from remit.schema.keys import KeyCreate, KeyRevoke, LinkCreate
from remit.schema.previews import PreviewCreate
from remit.schema.remits import BudgetParams, RemitAnswer, RemitAttend, RemitCreate
from remit.schema.resources import FileResourceParams, ResourceUpdate
from remit.schema.sessions import SessionCreate, SessionUpdate

Answer = Literal["object", "list", "list_both_ways", "list_by_id", "event_stream", "bytes", "either"]
Upload = Literal["multipart", "tar"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    summary: str
    body: Any = None  # Any: a Struct type or a union of them
    is_body_optional: bool = False
    upload: Upload | None = None
    body_schema: dict[str, Any] | None = None  # Any: JSON
    """Of a JSON object that a provider's own documentation describes: what every call of it has."""
    query: tuple[str, ...] = ()
    answer: Answer = "object"


@dataclass(frozen=True)
class _List(Operation):
    query: tuple[str, ...] = ("limit", "page")
    answer: Answer = field(default="list")


_MODEL: dict[str, Any] = {"type": "string", "examples": ["scripted/inline"]}  # Any: JSON
_STREAM: dict[str, Any] = {"type": "boolean"}  # Any: JSON
_TURNS: dict[str, Any] = {  # Any: JSON
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"type": "string", "examples": ["user"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        },
        "required": ["role", "content"],
    },
}


def _model_call(*required: str, **properties: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    fields = {"model": _MODEL, **properties}
    return {"type": "object", "properties": fields, "required": ["model", *required]}


_CREATED_AT = ("created_at[gt]", "created_at[gte]", "created_at[lt]", "created_at[lte]")
_EVENTS = ("limit", "page", "order", "types[]", *_CREATED_AT)

OPERATIONS: dict[str, Operation] = {
    # Agents and environments.
    "POST /v1/agents": Operation(summary="Create an agent", body=AgentCreate),
    "GET /v1/agents": Operation(
        summary="List agents",
        query=("limit", "page", "include_archived", "created_at[gte]", "created_at[lte]"),
        answer="list",
    ),
    "GET /v1/agents/{agent_id}": Operation(summary="Retrieve an agent", query=("version",)),
    "POST /v1/agents/{agent_id}": Operation(summary="Update an agent", body=AgentUpdate),
    "POST /v1/agents/{agent_id}/archive": Operation(summary="Archive an agent"),
    "GET /v1/agents/{agent_id}/versions": _List(summary="List versions of an agent"),
    "POST /v1/environments": Operation(summary="Create an environment", body=EnvironmentCreate),
    "GET /v1/environments": Operation(
        summary="List environments", query=("limit", "page", "include_archived"), answer="list"
    ),
    "GET /v1/environments/{environment_id}": Operation(summary="Retrieve an environment"),
    "POST /v1/environments/{environment_id}": Operation(
        summary="Update an environment", body=EnvironmentUpdate
    ),
    "DELETE /v1/environments/{environment_id}": Operation(summary="Delete an environment"),
    "POST /v1/environments/{environment_id}/archive": Operation(summary="Archive an environment"),
    # Sessions.
    "POST /v1/sessions": Operation(summary="Create a session", body=SessionCreate),
    "GET /v1/sessions": Operation(
        summary="List sessions",
        query=(
            "limit",
            "page",
            "order",
            "statuses[]",
            "agent_id",
            "agent_version",
            "include_archived",
            "deployment_id",
            "memory_store_id",
            *_CREATED_AT,
        ),
        answer="list_both_ways",
    ),
    "GET /v1/sessions/{session_id}": Operation(summary="Retrieve a session"),
    "POST /v1/sessions/{session_id}": Operation(summary="Update a session", body=SessionUpdate),
    "DELETE /v1/sessions/{session_id}": Operation(summary="Delete a session"),
    "POST /v1/sessions/{session_id}/archive": Operation(summary="Archive a session"),
    "GET /v1/sessions/{session_id}/accounts": Operation(
        summary="What a session may spend, has spent and holds", answer="list"
    ),
    "GET /v1/sessions/{session_id}/check": Operation(summary="Check the invariants of a session"),
    "GET /v1/sessions/{session_id}/why": Operation(
        summary="Why a session is where it is, for whom it waits and who can move it"
    ),
    "POST /v1/sessions/{session_id}/events": Operation(summary="Send events", body=SendEvents),
    "GET /v1/sessions/{session_id}/events": Operation(summary="List events", query=_EVENTS, answer="list"),
    "GET /v1/sessions/{session_id}/events/stream": Operation(
        summary="Stream events", query=("after", "event_deltas[]"), answer="event_stream"
    ),
    "GET /v1/sessions/{session_id}/stream": Operation(
        summary="Stream events: another name of events/stream",
        query=("after", "event_deltas[]"),
        answer="event_stream",
    ),
    "GET /v1/sessions/{session_id}/threads": Operation(
        summary="List threads", query=("limit", "page", "statuses[]"), answer="list"
    ),
    "GET /v1/sessions/{session_id}/threads/{thread_id}": Operation(summary="Retrieve a thread"),
    "POST /v1/sessions/{session_id}/threads/{thread_id}/archive": Operation(summary="Archive a thread"),
    "GET /v1/sessions/{session_id}/threads/{thread_id}/events": _List(summary="List events of a thread"),
    "GET /v1/sessions/{session_id}/threads/{thread_id}/stream": Operation(
        summary="Stream events of a thread", query=("after", "event_deltas[]"), answer="event_stream"
    ),
    "GET /v1/sessions/{session_id}/threads/{thread_id}/events/stream": Operation(
        summary="Stream events of a thread: another name of stream",
        query=("after", "event_deltas[]"),
        answer="event_stream",
    ),
    "POST /v1/sessions/{session_id}/resources": Operation(summary="Add a file", body=FileResourceParams),
    "GET /v1/sessions/{session_id}/resources": _List(summary="List resources"),
    "GET /v1/sessions/{session_id}/resources/{resource_id}": Operation(summary="Retrieve a resource"),
    "POST /v1/sessions/{session_id}/resources/{resource_id}": Operation(
        summary="Update a resource", body=ResourceUpdate
    ),
    "DELETE /v1/sessions/{session_id}/resources/{resource_id}": Operation(summary="Remove a resource"),
    # Lists of what cannot be made here.
    "GET /v1/deployment_runs": Operation(
        summary="List deployment runs: there are none",
        query=("limit", "page", "deployment_id", "has_error", "trigger_type", *_CREATED_AT),
        answer="list",
    ),
    "GET /v1/deployments": Operation(
        summary="List deployments: there are none",
        query=(
            "limit",
            "page",
            "agent_id",
            "include_archived",
            "status",
            "created_at[gte]",
            "created_at[lte]",
        ),
        answer="list",
    ),
    "GET /v1/memory_stores": Operation(
        summary="List memory stores: there are none",
        query=("limit", "page", "include_archived", "created_at[gte]", "created_at[lte]"),
        answer="list",
    ),
    "GET /v1/skills": Operation(
        summary="List skills: there are none", query=("limit", "page", "source"), answer="list"
    ),
    "GET /v1/vaults": Operation(
        summary="List vaults: there are none", query=("limit", "page", "include_archived"), answer="list"
    ),
    # Models.
    "GET /v1/models": Operation(
        summary="List models", query=("limit", "after_id", "before_id", "lifecycle[]"), answer="list_by_id"
    ),
    "GET /v1/models/{model_id}": Operation(summary="Retrieve a model"),
    # Files.
    "POST /v1/files": Operation(summary="Upload a file", upload="multipart"),
    "GET /v1/files": Operation(
        summary="List files", query=("limit", "page", "ids[]", "scope_id"), answer="list"
    ),
    "GET /v1/files/{file_id}": Operation(summary="Retrieve what is known of a file"),
    "DELETE /v1/files/{file_id}": Operation(summary="Delete a file"),
    "GET /v1/files/{file_id}/content": Operation(summary="Download a file", answer="bytes"),
    # Remits.
    "POST /v1/remits/inputs": Operation(summary="Upload an input", upload="tar"),
    "POST /v1/remits": Operation(summary="Create a remit; answers its forecast", body=RemitCreate),
    "GET /v1/remits": Operation(
        summary="List remits", query=("limit", "page", "order", "statuses[]"), answer="list"
    ),
    "GET /v1/remits/{remit_id}": Operation(summary="Retrieve a remit"),
    "GET /v1/remits/{remit_id}/events": Operation(
        summary="List events of a remit", query=("limit", "page", "order"), answer="list"
    ),
    "GET /v1/remits/{remit_id}/events/stream": Operation(
        summary="Stream events of a remit", query=("after",), answer="event_stream"
    ),
    "POST /v1/remits/{remit_id}/approve": Operation(
        summary="Consent to the forecast", body=RemitAnswer, is_body_optional=True
    ),
    "POST /v1/remits/{remit_id}/decline": Operation(
        summary="Decline the forecast", body=RemitAnswer, is_body_optional=True
    ),
    "POST /v1/remits/{remit_id}/interrupt": Operation(summary="Stop where it is and keep everything"),
    "POST /v1/remits/{remit_id}/resume": Operation(summary="Go on"),
    "POST /v1/remits/{remit_id}/budget": Operation(
        summary="Raise the budget of a remit that reached it; it goes on", body=BudgetParams
    ),
    "POST /v1/remits/{remit_id}/attend": Operation(
        summary="Stand by a remit until it ends, or let it go on alone",
        body=RemitAttend,
        is_body_optional=True,
    ),
    "POST /v1/remits/{remit_id}/verify": Operation(summary="Run the verifiers again on the result"),
    "GET /v1/remits/{remit_id}/check": Operation(summary="Check the invariants of a remit"),
    "GET /v1/remits/{remit_id}/why": Operation(
        summary="Why a remit is where it is, for whom it waits and who can move it"
    ),
    "GET /v1/remits/{remit_id}/receipt": Operation(summary="Every call, hold and settlement"),
    "GET /v1/remits/{remit_id}/deliverables": Operation(summary="What the remit hands over"),
    "GET /v1/remits/{remit_id}/deliverables/{name}": Operation(
        summary="Download a deliverable", answer="bytes"
    ),
    # Models.
    "POST /v1/messages": Operation(
        summary="Call a model: Anthropic Messages",
        body_schema=_model_call(
            "messages", "max_tokens", messages=_TURNS, max_tokens={"type": "integer"}, stream=_STREAM
        ),
        answer="either",
    ),
    "POST /v1/messages/count_tokens": Operation(
        summary="Count the tokens of a prompt", body_schema=_model_call("messages", messages=_TURNS)
    ),
    "POST /v1/chat/completions": Operation(
        summary="Call a model: OpenAI Chat Completions",
        body_schema=_model_call("messages", messages=_TURNS, stream=_STREAM),
        answer="either",
    ),
    "POST /v1/responses": Operation(
        summary="Call a model: OpenAI Responses",
        body_schema=_model_call("input", input={"anyOf": [{"type": "string"}, _TURNS]}, stream=_STREAM),
        answer="either",
    ),
    # Keys, links, the platform itself.
    "POST /v1/keys": Operation(summary="Create a key; its secret is answered once", body=KeyCreate),
    "GET /v1/sessions/{session_id}/services": Operation(summary="What listens in the session's sandbox"),
    "POST /v1/sessions/{session_id}/previews": Operation(
        summary="An address at which a browser can look at a service", body=PreviewCreate
    ),
    "GET /v1/keys": Operation(summary="List keys", query=("limit", "page", "workspace_id"), answer="list"),
    "POST /v1/keys/{key_id}/revoke": Operation(summary="Revoke a key", body=KeyRevoke, is_body_optional=True),
    "POST /v1/stop": Operation(
        summary="Interrupt everything of the workspace; answers what still runs or is held"
    ),
    "POST /v1/reconcile": Operation(
        summary="Match a provider's own export with calls whose cost was assumed, and book it", body=Reconcile
    ),
    "POST /v1/caps": Operation(
        summary="Set what a key or a workspace may spend per period", body=CapSet, answer="list"
    ),
    "GET /v1/caps": Operation(
        summary="Caps, and what is left of them", query=("workspace_id",), answer="list"
    ),
    "POST /v1/links": Operation(summary="Make a link that can only look", body=LinkCreate),
    "GET /v1/doctor": Operation(summary="What works here and what to do about the rest"),
    "GET /metrics": Operation(summary="Metrics of this process, as Prometheus reads them", answer="bytes"),
    "GET /v1/openapi.json": Operation(summary="This document"),
}
"""By method and path as the route has it. PATCH is taken as POST where there is both, and does not stand here."""
