"""A small server in the shapes of docs/api.md, for tests of the client and the CLI: one remit's life, told by a script.

It is a real ASGI application with real streams, cursors and errors; only the work behind it is made up.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "rk_fake"
Json = dict[str, Any]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class FakeLog:
    """Events of one stream; `changed` wakes its readers."""

    events: list[Json] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)

    def append(self, event: Json) -> None:
        self.events.append(event)
        self.changed.set()
        self.changed = anyio.Event()


@dataclass
class FakeApi:
    """`work` is run when a remit is approved or resumed; it appends to the logs."""

    work: Callable[[FakeApi], Any] | None = None
    high_usd: str | None = "0.40"
    initial: list[Json] = field(default_factory=list)
    """Verdicts on the input."""
    reasons: tuple[str, ...] = ()
    """What is asked beside the cost."""
    cut_after: int | None = None
    """Break each stream off after so many events, in the middle of a frame."""
    remit: Json = field(default_factory=dict)
    remit_log: FakeLog = field(default_factory=FakeLog)
    session_logs: dict[str, FakeLog] = field(default_factory=dict)
    changed: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    input_members: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    stream_opens: list[str | None] = field(default_factory=list)
    disconnects: int = 0
    is_dead: bool = False
    """Every stream breaks off and no request is answered, as if the process were gone."""
    is_interrupted: anyio.Event = field(default_factory=anyio.Event)
    tasks: Any = None

    def event(self, type: str, **fields: object) -> Json:
        number = len(self.remit_log.events) + 1
        return {
            "id": f"revt_{number}",
            "type": type,
            "processed_at": f"2026-11-22T09:00:{number:02}.000000Z",
            **fields,
        }

    def append(self, type: str, **fields: object) -> None:
        self.remit_log.append(self.event(type, **fields))

    def append_session(self, type: str, *, id: str, **fields: object) -> None:
        log = self.session_logs["sesn_1"]
        at = f"2026-11-22T09:01:{len(log.events):02}.000000Z"
        log.append({"id": id, "type": type, "processed_at": at, **fields})

    def end(self, *, status: str, verified: bool, verdicts: list[Json], **fields: object) -> None:
        spent = {"usd": "0.013242", "tokens": 4120}
        self.append(
            "remit.iteration_ended", iteration=0, result="satisfied", verdicts=verdicts, tampered=[], added=[]
        )
        self.remit |= {
            "status": status,
            "completed": True,
            "verified": verified,
            "spent": spent,
            "iterations": [{"iteration": 0, "result": "satisfied", "verdicts": verdicts}],
            "ended_at": "2026-11-22T09:02:05.000000Z",
            **fields,
        }
        summary = {
            name: self.remit[name] for name in ("status", "completed", "verified", "vacuous", "tampered")
        }
        self.append("remit.ended", **summary, spent=spent, session_ids=["sesn_1"], explanation="")

    def pause(self, *, wake_at: str | None, message: str, mend: str | None = None) -> None:
        """No model answers."""
        self.remit |= {
            "status": "paused",
            "wake_at": wake_at,
            "explanation": f"Paused: {message}. {mend or ''}",
        }
        self.append("remit.paused", reason="unavailable", message=message, wake_at=wake_at, mend=mend)

    def asgi(self) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if self.is_dead:
                raise ConnectionResetError
            await routes(scope, receive, send)

        routes = self._routes()
        return app

    def _routes(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/remits/inputs", self._upload, methods=["POST"]),
                Route("/v1/remits", self._create, methods=["POST"]),
                Route("/v1/remits", self._list),
                Route("/v1/remits/{id}", self._retrieve),
                Route("/v1/remits/{id}/events", self._events),
                Route("/v1/remits/{id}/events/stream", self._stream),
                Route("/v1/remits/{id}/deliverables", self._deliverables),
                Route("/v1/remits/{id}/deliverables/{name}", self._download),
                Route("/v1/remits/{id}/receipt", self._receipt),
                Route("/v1/streams/{id}/check", self._check),
                Route("/v1/remits/{id}/{action}", self._act, methods=["POST"]),
                Route("/v1/sessions", self._none),
                Route("/v1/deployments", self._none),
                Route("/v1/sessions/{id}", self._session),
                Route("/v1/sessions/{id}/events/stream", self._session_stream),
                Route("/v1/agents", self._agents),
                Route("/v1/environments", self._environments),
                Route("/v1/doctor", self._doctor),
            ]
        )

    async def _upload(self, request: Request) -> Response:
        body = b"".join([chunk async for chunk in request.stream()])
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() else None
                self.input_members[member.name] = source.read() if source else member.linkname.encode()
        return JSONResponse({"id": "input_1", "type": "remit_input", "files": len(self.input_members)})

    async def _create(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return error(401, "authentication_error", "No such key.")
        body = await request.json()
        if body.get("model") == "free/model" and "tokens" not in body["budget"]:
            return error(400, "invalid_request_error", "free/model has no price; add `--budget 50000tokens`.")
        if body.get("model") == "none":
            return error(400, "invalid_request_error", "No model is available. Set ANTHROPIC_API_KEY.")
        usd = {"low": "0.02", "likely": "0.11", "high": self.high_usd} if self.high_usd else None
        self.remit |= {
            "id": "remit_01k0000000000000000k3f9abcd",
            "type": "remit",
            "status": "verifying_input",
            "outcome": body["outcome"],
            "verifiers": body.get("verifiers", []),
            "budget": {"usd": body["budget"].get("usd"), "tokens": body["budget"].get("tokens")},
            "agent": {
                "name": None,
                "model": "claude-sonnet-5",
                "version": 1,
                "harness": {"name": "loop", "version": "1"},
            },
            "max_iterations": 3,
            "protect": [],
            "protected": [{"path": "tests/test_app.py", "sha256": "0" * 64}],
            "forecast": None,
            "consent": {"state": "pending", "reasons": ["cost"], "despite": []},
            "initial_verdicts": [],
            "spent": {"usd": "0", "tokens": 0},
            "held": {"usd": "0.12", "tokens": 9000},
            "cap": {"usd": body["budget"].get("usd"), "tokens": body["budget"].get("tokens")},
            "iterations": [],
            "completed": False,
            "verified": False,
            "vacuous": [],
            "tampered": [],
            "added": [],
            "result_notes": self.notes,
            "session_ids": [],
            "metadata": body.get("metadata", {}),
            "created_at": "2026-11-22T09:00:00.000000Z",
            "ended_at": None,
        }
        created = {
            name: self.remit[name] for name in ("outcome", "verifiers", "budget", "agent", "max_iterations")
        }
        self.append("remit.created", **created)
        answer = JSONResponse(self.remit)
        self._verify_input(usd)
        return answer

    def _verify_input(self, usd: Json | None) -> None:
        """What the handler does next, in no time."""
        self.append("remit.initial_verification_started", verification_id="vrfy_1")
        vacuous = [index for index, one in enumerate(self.initial) if one["passed"]]
        self.append("remit.initial_verification_ended", verdicts=self.initial, vacuous=vacuous, error=None)
        forecast = {
            "usd": usd,
            "tokens": {"low": 1, "likely": 31000, "high": 90000},
            "basis": "a prior",
            "notes": [],
        }
        self.append("remit.forecast", **forecast)
        self.remit |= {
            "status": "awaiting_consent",
            "forecast": forecast,
            "consent": {"state": "asked", "reasons": ["cost", *self.reasons], "despite": []},
            "initial_verdicts": self.initial,
        }

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"data": [self.remit] if self.remit else [], "next_page": None})

    async def _none(self, request: Request) -> Response:
        return JSONResponse({"data": [], "next_page": None})

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(self.remit) if self._knows(request) else not_found(request)

    async def _events(self, request: Request) -> Response:
        start = int(request.query_params.get("page", "0"))
        page = self.remit_log.events[start : start + 2]
        following = start + 2
        next_page = str(following) if following < len(self.remit_log.events) else None
        return JSONResponse({"data": page, "next_page": next_page})

    async def _stream(self, request: Request) -> Response:
        if not self._knows(request):
            return not_found(request)
        return self._sse(request, self.remit_log)

    async def _session(self, request: Request) -> Response:
        known = request.path_params["id"] in self.session_logs
        return JSONResponse({"id": request.path_params["id"]}) if known else not_found(request)

    async def _session_stream(self, request: Request) -> Response:
        return self._sse(request, self.session_logs[request.path_params["id"]])

    def _sse(self, request: Request, log: FakeLog) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        self.stream_opens.append(after)

        async def frames() -> AsyncGenerator[bytes]:
            position = int((after or "0").removeprefix("c"))
            sent = 0
            try:
                while True:
                    changed = log.changed
                    while position < len(log.events):
                        event = log.events[position]
                        position += 1
                        frame = (
                            f"event: {event['type']}\nid: c{position}\ndata: {json.dumps(event)}\n\n".encode()
                        )
                        if self.is_dead or (self.cut_after is not None and sent == self.cut_after):
                            yield frame[: len(frame) // 2]
                            return
                        yield frame
                        sent += 1
                    if log.events and log.events[-1]["type"] == "remit.ended":
                        return
                    await changed.wait()
            finally:
                self.disconnects += 1

        return StreamingResponse(frames(), media_type="text/event-stream")

    async def _act(self, request: Request) -> Response:
        action = request.path_params["action"]
        if action == "attend":
            return not_found(request)
        self.calls.append(action)
        match action:
            case "approve" if (await self._despite(request)) < set(self.reasons):
                return error(400, "invalid_request_error", "It asks for more than its cost.")
            case "approve" | "resume":
                self.remit["status"] = "working"
                self.remit["consent"] = {"state": "given", "reasons": [], "despite": list(self.reasons)}
                if action == "resume":
                    self.append("remit.resumed", actor="apikey_1")
                else:
                    self.append("remit.approved", actor="apikey_1")
                if self.work is not None:
                    self.tasks.start_soon(self.work, self)
            case "budget":
                self.remit["status"] = "working"
                self.remit["budget"] = self.remit["cap"] = {
                    "usd": None,
                    "tokens": None,
                    **await request.json(),
                }
                self.append("remit.reopened", actor="apikey_1", budget=self.remit["budget"])
                if self.work is not None:
                    self.tasks.start_soon(self.work, self)
            case "decline":
                self.remit["status"] = "stopped"
            case "interrupt":
                self.remit["status"] = "interrupted"
                self.append("remit.interrupted", actor="apikey_1")
                self.is_interrupted.set()
            case "verify":
                return JSONResponse({"verdicts": [verdict("pytest -q", passed=True)], "verified": True})
            case _:
                return not_found(request)
        return JSONResponse(self.remit)

    async def _despite(self, request: Request) -> set[str]:
        body = await request.body()
        return set((json.loads(body) if body else {}).get("despite", []))

    async def _deliverables(self, request: Request) -> Response:
        return JSONResponse(
            {
                "data": [{"name": "files.tar"}] if self.changed else [],
                "changed": self.changed,
                "notes": self.notes,
            }
        )

    async def _download(self, request: Request) -> Response:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, content in self.contents.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return Response(buffer.getvalue())

    async def _receipt(self, request: Request) -> Response:
        call = {
            "call_id": "call_1",
            "model": "claude-sonnet-5",
            "served_model": "claude-sonnet-5",
            "priced_as": "anthropic/claude-sonnet-5",
            "purpose": "work",
            "held": {"nano_usd": 120_000_000, "tokens": 9000},
            "settled": {"nano_usd": 13_242_000, "tokens": 4120},
            "state": "settled",
            "started_at": "2026-11-22T09:01:00Z",
            "ended_at": "2026-11-22T09:01:04Z",
        }
        tool = {
            "tool_use_id": "t1",
            "name": "bash",
            "duration_seconds": 1.5,
            "is_error": False,
            "may_have_run": False,
        }
        account = {
            "stream_id": "sesn_01k000000000000abcdef",
            "purpose": "work",
            "unit": "nano_usd",
            "cap": 2_000_000_000,
        }
        account |= {"spent": 13_242_000, "held": 0, "granted": 0, "stopped": False}
        names = ("status", "completed", "verified", "agent", "budget", "spent")
        receipt = {
            "type": "receipt",
            "remit_id": self.remit["id"],
            **{name: self.remit[name] for name in names},
        }
        verifications = [
            {"iteration": 0, "verdicts": iteration["verdicts"]} for iteration in self.remit["iterations"]
        ]
        receipt |= {"calls": [call, {**call, "state": "assumed", "error_reason": "cut"}], "tools": [tool]}
        receipt |= {
            "accounts": [account],
            "verifications": verifications,
            "image_digest": "sha256:abc",
            "prices": {},
        }
        return JSONResponse(receipt)

    async def _check(self, request: Request) -> Response:
        if request.path_params["id"] != self.remit["id"]:
            return not_found(request)
        return JSONResponse(
            {"type": "check", "id": self.remit["id"], "ok": True, "checked": ["a"], "violations": []}
        )

    async def _agents(self, request: Request) -> Response:
        return JSONResponse({"data": [{"id": "agent_1", "name": "fixer"}], "next_page": None})

    async def _environments(self, request: Request) -> Response:
        return JSONResponse({"data": [], "next_page": None})

    async def _doctor(self, request: Request) -> Response:
        probes = [
            {"name": "sandbox", "ok": True, "detail": "bubblewrap 0.11", "mend": None},
            {"name": "models", "ok": False, "detail": "no key", "mend": "set ANTHROPIC_API_KEY"},
        ]
        return JSONResponse({"type": "doctor", "ok": False, "probes": probes})

    def _knows(self, request: Request) -> bool:
        return request.path_params["id"] == self.remit.get("id")


def verdict(command: str, *, passed: bool, output: str = "") -> Json:
    return {
        "verifier": {"type": "command", "command": command},
        "passed": passed,
        "summary": "exit code 0" if passed else "exit code 1",
        "output": output,
        "evidence": {},
        "tampered": [],
        "added": [],
        "duration_seconds": 0.4,
    }


def error(status: int, type: str, message: str) -> Response:
    body = {
        "type": "error",
        "error": {"type": type, "message": message, "details": {"error_code": "some_code"}},
    }
    return JSONResponse({**body, "request_id": "req_1"}, status_code=status, headers={"request-id": "req_1"})


def not_found(request: Request) -> Response:
    return error(404, "not_found_error", f"There is no {request.path_params['id']!r}.")


@dataclass
class FakePlatform:
    asgi: Any
    api_key: str
    socket_path: str


@dataclass
class FakeOpener:
    """Opens the fake as the CLI opens the platform; `failures` are raised first, one at each opening."""

    api: FakeApi
    folder: Path
    failures: list[Exception] = field(default_factory=list)
    openings: int = 0

    async def opened(self, number: int) -> None:
        """What happens at each opening; for tests to override."""

    @asynccontextmanager
    async def __call__(self, options: object) -> AsyncGenerator[FakePlatform]:
        if self.failures:
            raise self.failures.pop(0)
        async with anyio.create_task_group() as tasks:
            self.api.tasks = tasks
            self.openings += 1
            await self.opened(self.openings)
            yield FakePlatform(asgi=self.api.asgi(), api_key=KEY, socket_path=str(self.folder / "api.sock"))
            tasks.cancel_scope.cancel()
