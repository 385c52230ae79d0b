"""The API's resources as the client offers them. Answers are the server's JSON, unchanged."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal
from urllib.parse import quote

from remit.client.http import Http
from remit.client.stream import EventStream, JsonObject

Order = Literal["asc", "desc"]


class Inputs:
    """`/v1/remits/inputs`: what a remit's working tree starts as."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def upload(self, tar: AsyncIterable[bytes]) -> JsonObject:
        """Send a tar while it is made; answers the input with its id."""
        return await self._http.upload("/v1/remits/inputs", tar, "application/x-tar")


class Remits:
    """`/v1/remits`: outcomes with budgets."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(
        self,
        *,
        outcome: str,
        budget: Mapping[str, object],
        verifiers: Sequence[Mapping[str, object]] | None = None,
        rubric: str | None = None,
        input_id: str | None = None,
        agent: str | None = None,
        model: str | None = None,
        max_iterations: int | None = None,
        protect: Sequence[str] | None = None,
        unprotect: Sequence[str] | None = None,
        work: Sequence[str] | None = None,
        toolchains: Sequence[str] | None = None,
        setup: str | None = None,
        environment_id: str | None = None,
        consent: Literal["required", "given"] | None = None,
        despite: Sequence[str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """Make a remit. Its verifiers run on the input, then it waits for `approve` unless `consent="given"` and what else
        it asks is in `despite`. What is None is not sent."""
        fields: dict[str, object] = {
            "outcome": outcome,
            "budget": budget,
            "verifiers": verifiers,
            "rubric": rubric,
            "input_id": input_id,
            "agent": agent,
            "model": model,
            "max_iterations": max_iterations,
            "protect": protect,
            "unprotect": unprotect,
            "work": work,
            "toolchains": toolchains,
            "setup": setup,
            "environment_id": environment_id,
            "consent": consent,
            "despite": despite,
            "metadata": metadata,
        }
        return await self._http.post("/v1/remits", _given(fields))

    async def retrieve(self, remit_id: str) -> JsonObject:
        """The remit as it is now."""
        return await self._http.get(_path("/v1/remits", remit_id))

    def list(
        self, *, statuses: Sequence[str] | None = None, order: Order | None = None
    ) -> AsyncGenerator[JsonObject]:
        """Every remit, page by page."""
        return self._http.pages(
            "/v1/remits", {"statuses": list(statuses) if statuses else None, "order": order}
        )

    def events(self, remit_id: str, *, order: Order | None = None) -> AsyncGenerator[JsonObject]:
        """Its events so far, page by page."""
        return self._http.pages(_path("/v1/remits", remit_id, "events"), {"order": order})

    def stream(self, remit_id: str, *, after: str | None = "0") -> EventStream:
        """Its events as they come, to its end."""
        return self._http.stream(_path("/v1/remits", remit_id, "events/stream"), after=after)

    async def approve(self, remit_id: str, *, despite: Sequence[str] | None = None) -> JsonObject:
        """Say yes to the forecast: work begins and money is spent. What the remit asks beside its cost is accepted by
        name in `despite`."""
        return await self._http.post(_path("/v1/remits", remit_id, "approve"), _given({"despite": despite}))

    async def decline(self, remit_id: str, *, reason: str | None = None) -> JsonObject:
        """Say no to the forecast; the remit ends as `stopped`."""
        return await self._http.post(_path("/v1/remits", remit_id, "decline"), _given({"reason": reason}))

    async def interrupt(self, remit_id: str) -> JsonObject:
        """Stop where it is and keep everything."""
        return await self._http.post(_path("/v1/remits", remit_id, "interrupt"))

    async def resume(self, remit_id: str) -> JsonObject:
        """Go on after an interrupt, or in a pause without waiting for its end."""
        return await self._http.post(_path("/v1/remits", remit_id, "resume"))

    async def raise_budget(
        self, remit_id: str, *, usd: str | None = None, tokens: int | None = None
    ) -> JsonObject:
        """Give a remit that reached its budget a higher one, in all; it goes on with what it has."""
        return await self._http.post(
            _path("/v1/remits", remit_id, "budget"), _given({"usd": usd, "tokens": tokens})
        )

    async def attend(self, remit_id: str, *, detach: bool = False) -> JsonObject:
        """Stand by until it has ended: a remit that was attended and is not any more is interrupted after a few seconds.
        With `detach` say that it may go on alone; answers at once."""
        fields = {"detach": True} if detach else {}
        return await self._http.post(_path("/v1/remits", remit_id, "attend"), fields, is_long=not detach)

    async def verify(self, remit_id: str) -> JsonObject:
        """Run the verifiers again on the result; answers when they are done."""
        return await self._http.post(_path("/v1/remits", remit_id, "verify"), is_long=True)

    async def check(self, remit_id: str) -> JsonObject:
        """Check what must always hold of its logs and accounts."""
        return await self._http.get(_path("/v1/remits", remit_id, "check"))

    async def why(self, remit_id: str) -> JsonObject:
        """Why it is where it is, in words: for whom it waits, since when, and who can move it."""
        return await self._http.get(_path("/v1/remits", remit_id, "why"))

    async def receipt(self, remit_id: str) -> JsonObject:
        """Every call, hold, settlement, tool time and verification."""
        return await self._http.get(_path("/v1/remits", remit_id, "receipt"))

    async def deliverables(self, remit_id: str) -> JsonObject:
        """The files it hands over, and the paths it changed."""
        return await self._http.get(_path("/v1/remits", remit_id, "deliverables"))

    def download(self, remit_id: str, name: str) -> AbstractAsyncContextManager[AsyncIterable[bytes]]:
        """One deliverable's bytes: `async with client.remits.download(id, name) as chunks`."""
        return self._http.bytes(_path("/v1/remits", remit_id, f"deliverables/{quote(name, safe='')}"))


class Agents:
    """`/v1/agents`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(self, **fields: object) -> JsonObject:
        """Make an agent; the fields are the API's (`name`, `model`, `system`, `tools` …)."""
        return await self._http.post("/v1/agents", fields)

    async def retrieve(self, agent_id: str) -> JsonObject:
        """The agent's newest version."""
        return await self._http.get(_path("/v1/agents", agent_id))

    def list(self) -> AsyncGenerator[JsonObject]:
        """Every agent that is not archived."""
        return self._http.pages("/v1/agents", {})


class Environments:
    """`/v1/environments`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(self, **fields: object) -> JsonObject:
        """Make an environment; the fields are the API's."""
        return await self._http.post("/v1/environments", fields)

    async def retrieve(self, environment_id: str) -> JsonObject:
        """One environment."""
        return await self._http.get(_path("/v1/environments", environment_id))

    def list(self) -> AsyncGenerator[JsonObject]:
        """Every environment that is not archived."""
        return self._http.pages("/v1/environments", {})


class Sessions:
    """`/v1/sessions` and their events."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(self, **fields: object) -> JsonObject:
        """Make a session; the fields are the API's (`agent`, `environment_id`, `title` …)."""
        return await self._http.post("/v1/sessions", fields)

    async def retrieve(self, session_id: str) -> JsonObject:
        """The session as it is now."""
        return await self._http.get(_path("/v1/sessions", session_id))

    def list(self, *, statuses: Sequence[str] | None = None) -> AsyncGenerator[JsonObject]:
        """Every session that is not archived."""
        return self._http.pages("/v1/sessions", {"statuses": list(statuses) if statuses else None})

    def events(self, session_id: str, *, order: Order | None = None) -> AsyncGenerator[JsonObject]:
        """Its events so far, page by page."""
        return self._http.pages(_path("/v1/sessions", session_id, "events"), {"order": order})

    async def send(self, session_id: str, events: Sequence[Mapping[str, object]]) -> JsonObject:
        """Send events; all are taken or none."""
        return await self._http.post(_path("/v1/sessions", session_id, "events"), {"events": list(events)})

    def stream(self, session_id: str, *, after: str | None = None) -> EventStream:
        """Its events as they come."""
        return self._http.stream(_path("/v1/sessions", session_id, "events/stream"), after=after)

    async def check(self, session_id: str) -> JsonObject:
        """Check what must always hold of its log and accounts."""
        return await self._http.get(_path("/v1/sessions", session_id, "check"))

    async def why(self, session_id: str) -> JsonObject:
        """Why it is where it is, in words: for whom it waits, since when, and who can move it."""
        return await self._http.get(_path("/v1/sessions", session_id, "why"))

    async def accounts(self, session_id: str) -> JsonObject:
        """What is spent, held and left, by purpose and unit."""
        return await self._http.get(_path("/v1/sessions", session_id, "accounts"))


class Keys:
    """`/v1/keys` and `/v1/links`; the former need an operator's key."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(
        self,
        *,
        name: str,
        scopes: Sequence[str] | None = None,
        expires_in_seconds: int | None = None,
        workspace_id: str | None = None,
    ) -> JsonObject:
        """Make a key; `secret` is in this answer and never again."""
        fields: dict[str, object] = {
            "name": name,
            "scopes": scopes,
            "expires_in_seconds": expires_in_seconds,
            "workspace_id": workspace_id,
        }
        return await self._http.post("/v1/keys", _given(fields))

    def list(self, *, workspace_id: str | None = None) -> AsyncGenerator[JsonObject]:
        """Every key of a workspace, also revoked and expired ones, newest first."""
        return self._http.pages("/v1/keys", {"workspace_id": workspace_id})

    async def revoke(self, key_id: str, *, workspace_id: str | None = None) -> JsonObject:
        """Refuse it from now on."""
        return await self._http.post(
            _path("/v1/keys", key_id, "revoke"), _given({"workspace_id": workspace_id})
        )

    async def link(self, id: str | None = None, *, expires_in_seconds: int | None = None) -> JsonObject:
        """A read-only page's address for a person: of one remit or session, or of the list of all."""
        return await self._http.post(
            "/v1/links", _given({"id": id, "expires_in_seconds": expires_in_seconds})
        )


class Caps:
    """`/v1/caps`; setting needs an operator's key."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def list(self, *, workspace_id: str | None = None) -> JsonObject:
        """Every cap of a workspace and of its keys, with what is left of the period that runs."""
        query = "" if workspace_id is None else f"?workspace_id={quote(workspace_id, safe='')}"
        return await self._http.get(f"/v1/caps{query}")

    async def set(
        self, *, period: str, key_id: str | None = None, workspace_id: str | None = None, **amounts: object
    ) -> JsonObject:
        """Set `usd` (text) or `tokens` per `day`, `week` or `month`; None takes a cap away. Answers the list."""
        given = _given({"period": period, "key_id": key_id, "workspace_id": workspace_id})
        return await self._http.post("/v1/caps", {**given, **amounts})


def _path(collection: str, id: str, rest: str = "") -> str:
    return f"{collection}/{quote(id, safe='')}" + (f"/{rest}" if rest else "")


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
