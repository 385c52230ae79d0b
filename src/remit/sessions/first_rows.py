"""Making a session: its first rows, whoever starts it (a route, a remit, a flow)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from remit.clock import rfc3339
from remit.ids import Ids
from remit.schema.resources import SessionMemoryStore
from remit.session.folding import fold
from remit.session.rows import SessionCreated
from remit.sessions.kind import SESSION, summarize
from remit.sessions.sending import receipts
from remit.sessions.wire import status
from remit.streams.rows import provisional
from remit.values import Append, Effect, JsonObject, JsonValue, NewStream


def new_session(
    *,
    ids: Ids,
    now_us: int,
    session_id: str,
    agent: JsonObject,
    environment_id: str,
    environment_config: JsonObject,
    effects: Sequence[Effect],
    events: Sequence[JsonObject] = (),
    title: str | None = None,
    metadata: Mapping[str, str] | None = None,
    budget: JsonObject | None = None,
    parent_stream_id: str | None = None,
    deployment_id: str | None = None,
    paid_by: str | None = None,
    input: JsonObject | None = None,
    toolchains: Sequence[str] = (),
    waits_for_reader: bool = False,
    resources: Sequence[JsonObject] = (),
    memory_stores: Sequence[SessionMemoryStore] = (),
    files: Mapping[str, JsonObject] | None = None,
) -> tuple[NewStream, Append]:
    """The stream and its first append, for `SessionStore.create_stream`; nothing is done yet.

    `agent` is a snapshot (`catalog.agents.snapshot`), `events` are inputs with their ids
    (`sessions.sending.Sending.prepare`), `effects` open the accounts or bring grants, `input` is
    `{"tree_digest", "mounts"}`, `paid_by` is the key whose caps bind it, `deployment_id` lists it and is told nothing, `resources` are copies of files (`sessions.resources`), `memory_stores` are attached
    ones (`sessions.memory`), and `files` those that messages name (`sessions.message_files`). With events the session is due at once. Creating it twice with one id is harmless.
    """
    created = SessionCreated(
        id=ids.new("sevt"),
        session={
            "title": title,
            "metadata": dict[str, JsonValue](metadata or {}),
            "budget": budget,
            "created_at": rfc3339(now_us),
        },
        agent=agent,
        thread_id=ids.new("sthr"),
        environment_id=environment_id,
        config=environment_config,
        input=input,
        toolchains=list(toolchains),
        parent=parent_stream_id,
        deployment_id=deployment_id,
        paid_by=paid_by,
        waits_for_reader=waits_for_reader,
        resources=list(resources),
        memory_stores=msgspec.to_builtins(memory_stores),
        files=dict(files or {}),
    )
    rows = (created.as_row(), *receipts(events))
    state = fold(provisional(rows, workspace_id="", stream_id=session_id, after_seq=0, at_us=now_us))
    stream = NewStream(
        stream_id=session_id,
        kind=SESSION.name,
        parent_stream_id=parent_stream_id or deployment_id,
        summary=replace(summarize(state), status=status(state)),
        refers_to=tuple(store.memory_store_id for store in memory_stores),
    )
    append = Append(
        stream_id=session_id,
        events=rows,
        effects=tuple(effects),
        wake_at_us=now_us if events else None,
    )
    return stream, append
