"""What official clients and their documentation ask of a server: one sentence each, and how far Remit meets it.

Every method of the SDK and every event type stands here by itself, read off `endpoints.json` and the SDK's unions; this
file adds what only words can say. Tests prove them: each carries `@pytest.mark.requirement(id)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent, BetaManagedAgentsStreamSessionEvents

from parity.manifest import served_methods
from remit.server.description.refused import endpoints
from remit.server.operations.router import Route
from remit.sessions.kind import SESSION

Status = Literal["served", "partly", "refused"]


@dataclass(frozen=True)
class Requirement:
    """One thing that can be true of a server or not."""

    id: str
    source: str
    """Where it is asked for: a method or type of the SDK, or a topic of the public documentation."""
    behaviour: str
    status: Status
    note: str = ""
    """What of it is missing, or why it is refused."""


def requirements(routes: Iterable[Route]) -> dict[str, Requirement]:
    """All of them by id, for an application with these routes."""
    found = [*_methods(tuple(routes)), *_events(), *BEHAVIOURS]
    by_id = {one.id: one for one in found}
    assert len(by_id) == len(found), "an id stands twice"
    return by_id


# ------------------------------------------------------------------------------------------------ methods

_MESSAGES = tuple(
    f"{client}.messages.{name}"
    for client in ("client", "client.beta")
    for name in ("create", "parse", "count_tokens")
)
_EMPTY_LISTS = tuple(
    f"client.{name}.list"
    for name in (
        "beta.vaults",
        "beta.skills",
        "skills",
    )
)
_SPENDING = "what could spend outside the hold is refused by name: provider's tools, containers, MCP servers, fallbacks"

PARTLY: Mapping[str, str] = {
    "client.beta.agents.create": "`skills`, `multiagent` and the policy `auto` are refused by name",
    "client.beta.agents.update": "as create",
    "client.beta.environments.create": "`self_hosted`, and packages other than of pip and npm, are refused by name",
    "client.beta.environments.update": "as create",
    "client.beta.sessions.create": "`vault_ids` and `github_repository` resources are refused by name",
    "client.beta.sessions.update": "`vault_ids` is refused by name",
    "client.beta.deployments.create": "`vault_ids` and resources other than files are refused by name",
    "client.beta.deployments.update": "as create",
    "client.beta.sessions.resources.add": "files alone",
    "client.beta.sessions.resources.update": "repositories alone have a token to update, and they are refused by name",
    **dict.fromkeys(_EMPTY_LISTS, "always empty: nothing of the kind can be made here"),
    **dict.fromkeys(_MESSAGES, _SPENDING),
    "client.beta.sessions.threads.list": "a session has its primary thread alone",
    "client.beta.sessions.threads.retrieve": "a session has its primary thread alone",
    "client.beta.sessions.threads.archive": "the primary thread, a session's only one, ends with its session",
    "client.beta.sessions.threads.events.list": "a session has its primary thread alone",
    "client.beta.sessions.threads.events.stream": "a session has its primary thread alone",
}
"""Methods that are served without a part of what they take; what is missing."""


def _methods(routes: tuple[Route, ...]) -> list[Requirement]:
    served = served_methods(routes)
    found: list[Requirement] = []
    for one in endpoints():
        note = PARTLY.get(one.method, "")
        status: Status = "refused"
        if one.method in served:
            status = "partly" if note else "served"
        found.append(
            Requirement(one.method, f"SDK, {one.tier}", f"{one.http_method} {one.path}", status, note)
        )
    return found


# ------------------------------------------------------------------------------------------------- events

_THREADS = "agents with several threads are refused by name (`multiagent`)"
_RUNS = "workflow runs need `multiagent`, which is refused by name"

EVENTS_REFUSED: Mapping[str, str] = {
    "user.tool_result": "self-hosted environments are refused by name",
    "agent.thread_message_received": _THREADS,
    "agent.thread_message_sent": _THREADS,
    "session.thread_created": _THREADS,
    "workflow_run.created": _RUNS,
    "workflow_run.status_running": _RUNS,
    "workflow_run.status_idle": _RUNS,
    "workflow_run.status_ended": _RUNS,
    "workflow_run.error": _RUNS,
    "workflow_run.phase_started": _RUNS,
    "workflow_run.phase_ended": _RUNS,
}
"""Event types that never occur, and what is refused so that they cannot."""

EVENTS_PARTLY: Mapping[str, str] = {
    "user.message": "image and document sources of type `url` and `file` depend on the model's provider",
}


def event_types() -> dict[str, Any]:
    """Every event type of the SDK's unions, with its class."""
    found: dict[str, Any] = {}
    for union in (BetaManagedAgentsSessionEvent, BetaManagedAgentsStreamSessionEvents):
        for member in get_args(get_args(union)[0]):
            (name,) = get_args(member.model_fields["type"].annotation)
            found[name] = member
    return found


def event_id(type: str) -> str:
    """The requirement's id of an event type."""
    return f"event {type}"


def _events() -> list[Requirement]:
    found: list[Requirement] = []
    for type, member in event_types().items():
        note = EVENTS_PARTLY.get(type, "")
        status: Status = "partly" if note else "served"
        if type not in SHOWN and type not in DELTAS:
            status, note = "refused", EVENTS_REFUSED[type]
        verb = "is taken" if type.startswith(("user.", "system.")) else "is shown"
        found.append(Requirement(event_id(type), f"SDK, {member.__name__}", f"`{type}` {verb}", status, note))
    return found


SHOWN = frozenset(row.type for row in SESSION.rows if row.visibility == "public")
"""Every event that a session's log can hold."""
DELTAS = frozenset({"event_start", "event_delta"})
OWN_EVENTS = SHOWN - set(event_types())
"""Session events of Remit's own: docs/events.md."""


# --------------------------------------------------------------------------------------------- behaviours


def _served(id: str, source: str, behaviour: str) -> Requirement:
    return Requirement(id, source, behaviour, "served")


BEHAVIOURS: tuple[Requirement, ...] = (
    _served("sdk python 2.12", "SDK", "The unmodified Python SDK 2.12 works by changing `base_url`."),
    _served("sdk python 0.121", "SDK", "Its older wire generation works: `X-Api-Key`, `?beta=true`."),
    _served("sdk typescript 1.12", "SDK", "The unmodified TypeScript SDK 1.12 works by changing `baseURL`."),
    _served(
        "sdk fields", "SDK", "Every answer and event has the fields of the SDK's types, and no unknown ones."
    ),
    _served("sdk tool runner", "SDK helpers", "`events.tool_runner` answers custom tools beside a person."),
    _served("sdk accumulator", "SDK helpers", "Previews add up to the message they announce."),
    _served("transport keys", "authentication", "The key comes as `Authorization: Bearer` or `X-Api-Key`."),
    _served("transport workspace", "authentication", "Answers and errors name the workspace of the key."),
    _served("transport betas", "versioning", "`beta=true` and beta headers are passed over."),
    _served("transport queries", "lists", "Arrays come as `name[]=`, ranges as `created_at[gte]=`."),
    _served("errors envelope", "errors", "Every failure has the one envelope and a `request-id` header."),
    _served("errors names", "errors", "A bad field is named, with what to do about it."),
    _served("errors values", "errors", "A value that a field does not take is answered with those it takes."),
    _served("errors size", "errors", "A body that is too large is a 413, as soon as that is known."),
    _served("errors conflicts", "errors", "A deterministic conflict says `x-should-retry: false`."),
    _served(
        "errors internal",
        "errors",
        "A failure of the server's own is a 500 that tells nothing of the inside.",
    ),
    _served(
        "errors refusals", "Remit", "What is not served is refused by its name, never accepted and ignored."
    ),
    _served("pages", "pagination", "Any page size gives every item once, in order."),
    _served("pages both ways", "pagination", "Sessions can be paged forth and back."),
    _served("pages cursors", "pagination", "A cursor is refused where it does not belong."),
    _served("stream live", "streaming", "A stream begins with what happens after it was opened."),
    _served("stream registers", "streaming", "The reader is registered before the headers go out."),
    _served("stream heartbeat", "streaming", "A quiet stream shows signs of life."),
    _served("stream deltas", "streaming", "Previews come only to those who asked, and only whole prefixes."),
    _served("stream errors", "streaming", "A stream that fails says so with `event: error`."),
    _served("stream resumes", "Remit", "`after=` and `Last-Event-ID` give the rest exactly once."),
    _served(
        "events queued",
        "events",
        "What waits behind something is echoed at receipt and again when it is consumed, under one id.",
    ),
    _served(
        "events begin",
        "events",
        "What begins a turn is shown once, after `session.status_running`: the last status seen is never stale.",
    ),
    _served("events confirmations", "permissions", "Only a call that asks can be confirmed."),
    _served("stream older path", "quickstarts", "Streams are served at `/stream` and at `/events/stream`."),
    _served("events atomic", "events", "One refused event refuses all of a request."),
    _served("events blocked", "events", "A session that waits for answers takes answers only."),
    _served("events cap", "budgets", "At the cap of its own budget only events that settle are taken."),
    _served("events outcome", "outcomes", "A second outcome waits for the first."),
    _served("events system", "events", "`system.message` stands last, behind what it accompanies."),
    _served("events content", "events", "Every kind of content is stored as it was sent."),
    _served("events repeat", "Remit", "The same idempotency key gives the same events."),
    _served("events interrupt", "Remit", "An interrupt comes again, processed, when nothing runs any more."),
    _served("events send first", "cookbook", "Programs that send first and stream afterwards miss nothing."),
    _served(
        "sessions thinking", "models", "Models that decide by themselves may think; it goes back as it came."
    ),
    _served("sessions effort", "models", "An agent's effort is shown resolved to its model's default."),
    _served("sessions long calls", "Remit", "A model call that takes its time holds nothing else up."),
    _served("sessions paths", "cookbook", "Programs find their files where hosted sandboxes have them."),
    _served(
        "files at their place",
        "older documentation",
        "A file mounted at an absolute path stands there too, as a link, wherever nothing else stands.",
    ),
    _served("packages said", "Remit", "What takes its time is said before: packages are being installed."),
    _served(
        "packages fail", "environments", "A turn whose packages cannot be installed ends as any other turn."
    ),
    _served("events usage", "budgets", "Every idle is preceded at once by `session.usage`."),
    _served("events times", "events", "`processed_at` never goes back within a session."),
    _served("events spans", "events", "Every `span.model_request_start` has its end."),
    _served("agents merge", "agents", "An update keeps what is left out and clears with null."),
    _served("agents no change", "agents", "An update without effect makes no version."),
    _served("agents archived", "agents", "An archived agent is read-only and listed on request."),
    _served("environments merge", "environments", "An update merges metadata; an empty string deletes."),
    _served("environments type", "environments", "The type of an environment cannot change."),
    _served(
        "environments archived", "environments", "An archived environment takes no change and no session."
    ),
    _served(
        "environments older words",
        "older documentation",
        "`anthropic_cloud` is `cloud`; `package_managers_and_custom` is `limited` with package managers.",
    ),
    _served(
        "environments apt", "environments", "`packages.apt` takes what the machine has and names the rest."
    ),
    _served(
        "agents without web", "web tools", "An agent that asks for web tools that are not offered is told so."
    ),
    _served("environments hosts", "environments", "`*.` stands before any name; `*` alone is refused."),
    _served("environments in use", "environments", "An environment is deleted only when no session has it."),
    _served(
        "web domains", "web tools", "Domain lists take no name twice and no internal name; both are named."
    ),
    _served(
        "memory preconditions", "memory", "A change or deletion whose precondition does not hold is a 409."
    ),
    _served("memory paths", "memory", "A path is taken once; a 409 names the memory that has it."),
    _served(
        "memory versions",
        "memory",
        "Every change is a version that says by whom; the newest is not redacted.",
    ),
    _served(
        "memory lists", "memory", "Lists go by path; `path_prefix` takes whole segments, `depth` groups."
    ),
    _served(
        "memory archived",
        "memory",
        "An archived store is read and emptied, takes nothing and is not attached.",
    ),
    _served("memory limits", "memory", "A content of 102,400 bytes is taken, and one byte more is not."),
    _served("memory betas", "memory", "Its beta and that of managed agents together are refused."),
    _served(
        "memory sessions",
        "memory",
        "A session shows what it mounts as it was when it was attached, and where.",
    ),
    _served(
        "memory mounts",
        "memory",
        "Files below a store's folder and its memories are kept the same, both ways.",
    ),
    _served("memory prompt", "memory", "The first prompt names each store's folder, access and description."),
    _served("memory filter", "memory", "Sessions are listed by a store that they mount."),
    _served("files of a session", "files", "All that `scope_id` lists can be downloaded."),
    _served("sessions initial events", "sessions", "`initial_events` make a session run at once."),
    _served("sessions overrides", "sessions", "Overrides replace, clear and inherit."),
    _served("sessions pins", "sessions", "A session keeps its version of the agent."),
    _served("sessions updated", "sessions", "`session.updated` tells only what changed."),
    _served("sessions running", "sessions", "A running session refuses change, archive and delete."),
    _served("sessions archived", "sessions", "An archived session is read-only."),
    _served("sessions deleted", "sessions", "A deleted session ends its streams."),
    _served("budgets created", "budgets", "A budget is set at creation only and must exceed what is used."),
    _served("budgets raised", "budgets", "A raised budget wakes a session that stands at its cap."),
    _served("budgets unpriced", "budgets", "A model without a price cannot serve a dollar budget."),
    _served("workspaces", "Remit", "Nothing of one workspace can be seen with a key of another."),
    _served("openapi", "Remit", "`GET /v1/openapi.json` describes every route."),
    _served("no internal errors", "Remit", "No request that a fuzzer can think of is answered with a 5xx."),
)
