"""/v1/remits: docs/api.md, section 2. A route appends and wakes; what happens then is the remit handler's."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from remit.client.consent import REASONS, resume_line
from remit.errors import InvalidRequest, NotFound, VerifierUnavailable, WrongState
from remit.remits.creation import RemitCreation, read_budget, read_despite
from remit.remits.events import Command, InputReceived, RemitVerificationRepeated, decode_event
from remit.remits.receipt import make_receipt
from remit.remits.reopening import is_to_be_raised
from remit.remits.state import RemitState, is_pointless
from remit.remits.verification import priced_verifiers
from remit.schema.lists import encode_list
from remit.schema.remits import REMIT_STATUSES, BudgetParams, RemitAnswer, RemitAttend, RemitCreate
from remit.schema.wire import decode
from remit.server.attendance import Attendance
from remit.server.auth import principal_of
from remit.server.listing import PAGING, read_page
from remit.server.requests import Query, encoded_response, json_response, read_body, read_nothing, read_params
from remit.server.services import Services
from remit.streams.deciding import decide
from remit.values import JsonObject, Principal, StreamFilter, StreamHead
from remit.verifiers.composition import Verifiers

RAISE_ATTEMPTS_MAX = 20
VERIFY_SECONDS_MAX = 16 * 3_600.0
"""As long as sixteen verifiers may take; after that the answer is only in the events."""
VERIFY_POLL_SECONDS = 1.0
ATTEND_POLL_SECONDS = 5.0
"""How late an end may be seen whose hint was lost."""
PIECE_TYPES = {"files.tar": "application/x-tar", "result.patch": "text/x-diff"}


class RemitRoutes:
    """Create, retrieve, list, events, commands, receipt, deliverables."""

    def __init__(
        self, services: Services, *, creation: RemitCreation, verifiers: Verifiers, attendance: Attendance
    ) -> None:
        self._services = services
        self._attendance = attendance
        self._creation = creation
        self._verifiers = verifiers

    def routes(self) -> list[Route]:
        """In the order of docs/api.md."""
        one = "/v1/remits/{remit_id}"
        return [
            Route("/v1/remits", self.create, methods=["POST"]),
            Route("/v1/remits", self.list, methods=["GET"]),
            Route(f"{one}/approve", self._command("remit.approve", "approved"), methods=["POST"]),
            Route(f"{one}/decline", self._command("remit.decline", "declined"), methods=["POST"]),
            Route(f"{one}/interrupt", self._command("remit.interrupt", "interrupted"), methods=["POST"]),
            Route(f"{one}/resume", self._command("remit.resume", "resumed"), methods=["POST"]),
            Route(f"{one}/budget", self.raise_budget, methods=["POST"]),
            Route(f"{one}/attend", self.attend, methods=["POST"]),
            Route(f"{one}/verify", self.verify, methods=["POST"]),
            Route(f"{one}/receipt", self.receipt, methods=["GET"]),
            Route(f"{one}/deliverables", self.deliverables, methods=["GET"]),
            Route(f"{one}/deliverables/{{name}}", self.deliverable, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        Query(request)
        principal = principal_of(request)
        params = await read_params(request, RemitCreate, bytes_max=self._services.settings.body_bytes_max)
        remit_id = await self._creation.create(principal, params)
        return json_response(await self.view(principal, remit_id))

    async def list(self, request: Request) -> Response:
        query = Query(request, (*PAGING, "order", "statuses"))
        is_ascending = query.choice("order", ("asc", "desc"), default="desc") == "asc"
        page = read_page(query, list="remits", is_ascending=is_ascending)
        principal = principal_of(request)
        statuses = query.texts("statuses", among=REMIT_STATUSES, limit=len(REMIT_STATUSES))
        heads = await self._services.sessions.list_streams(
            principal, StreamFilter(kind="remit", statuses=tuple(sorted(statuses))), page.query()
        )
        shown = heads[: page.limit]
        items = [msgspec.json.encode(await self._services.remits.view_of(principal, head)) for head in shown]
        positions = [(head.created_at_us, head.stream_id) for head in heads]
        return encoded_response(encode_list(items, page.next_page(positions)))

    def _command(self, type: str, participle: str) -> Callable[[Request], object]:
        async def route(request: Request) -> Response:
            Query(request)
            principal, remit_id = principal_of(request), str(request.path_params["remit_id"])
            body = await read_body(request, bytes_max=1 << 16)
            given = decode(body, RemitAnswer) if body.strip() else RemitAnswer()
            if given.reason is not None and type not in ("remit.approve", "remit.decline"):
                raise InvalidRequest("`reason`: belongs to approve and decline; remove it.")
            if given.despite is not None and type != "remit.approve":
                raise InvalidRequest("`despite`: belongs to approve; remove it.")
            state, head = await self._load(principal, remit_id)
            if refusal := refuse_command(remit_id, state, type, participle):
                raise refusal
            command = Command(
                id=self._services.ids.new("revt"),
                type=type,
                actor=principal.actor,
                reason=given.reason,
                despite=read_despite(given.despite),
            )
            if type == "remit.approve" and (refusal := refuse_approval(remit_id, state, command)):
                raise refusal
            # Behind what is not taken up yet it may mean something after all: resume, then interrupt.
            if state.pending or not is_pointless(state, command):
                await self._append_command(principal, head, command)
            return json_response(await self.view(principal, remit_id))

        return route

    async def raise_budget(self, request: Request) -> Response:
        Query(request)
        services, principal = self._services, principal_of(request)
        remit_id = str(request.path_params["remit_id"])
        new = read_budget(await read_params(request, BudgetParams, bytes_max=1 << 16))

        async def attempt() -> None:
            state, head = await self._load(principal, remit_id)
            if await is_to_be_raised(services.sessions, principal, remit_id, state, new):
                command = Command(
                    id=services.ids.new("revt"), type="remit.raise", actor=principal.actor, budget=new
                )
                await self._append_command(principal, head, command, expected_seq=head.seq)

        await decide(attempt, attempts_max=RAISE_ATTEMPTS_MAX)
        return json_response(await self.view(principal, remit_id))

    async def _append_command(
        self, principal: Principal, head: StreamHead, command: Command, *, expected_seq: int | None = None
    ) -> None:
        received = InputReceived(id=command.id, event=command)
        await self._services.remits.receive(
            principal, head.stream_id, received, key=command.id, expected_seq=expected_seq
        )

    async def attend(self, request: Request) -> Response:
        Query(request)
        principal, remit_id = principal_of(request), str(request.path_params["remit_id"])
        body = await read_body(request, bytes_max=1 << 16)
        given = decode(body, RemitAttend) if body.strip() else RemitAttend()
        state, _ = await self._load(principal, remit_id)
        if _is_over(state) or given.detach:
            self._attendance.forget(remit_id)
        else:
            with self._attendance.attending(principal, remit_id):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_until_left, request, tasks.cancel_scope)
                    await self._until_ended(principal, remit_id)
                    tasks.cancel_scope.cancel()
        return json_response(await self.view(principal, remit_id))

    async def _until_ended(self, principal: Principal, remit_id: str) -> None:
        async with self._services.bus.subscribe(remit_id) as subscription:
            while not _is_over((await self._load(principal, remit_id))[0]):
                with anyio.move_on_after(ATTEND_POLL_SECONDS):
                    while not any(row.type == "remit.ended" for row in (await subscription.next()).rows):
                        pass

    async def verify(self, request: Request) -> Response:
        Query(request)
        await read_nothing(request)
        services, principal = self._services, principal_of(request)
        state, head = await self._load(principal, request.path_params["remit_id"])
        created = state.created
        assert created is not None, "the first row of a remit says what was asked for"
        if state.session is None:
            raise WrongState(f"Remit {head.stream_id!r} has no result yet; verify it once it has worked.")
        if priced_verifiers(self._verifiers, created.verifiers):
            raise WrongState(
                f"Remit {head.stream_id!r} has a rubric, which costs money, and its budget is the session's (or given "
                "back); only remits whose verifiers are commands can be verified again."
            )
        command = Command(id=services.ids.new("revt"), type="remit.verify", actor=principal.actor)
        await self._append_command(principal, head, command)
        answer = await self._wait_for(principal, head.stream_id, command.id)
        if answer.error is not None:
            raise VerifierUnavailable(f"The result could not be verified: {answer.error}")
        verdicts = msgspec.to_builtins(answer.verdicts)
        return json_response({"verdicts": verdicts, "verified": answer.verified})

    async def _wait_for(
        self, principal: Principal, remit_id: str, event_id: str
    ) -> RemitVerificationRepeated:
        services = self._services
        with anyio.move_on_after(VERIFY_SECONDS_MAX):
            async with services.bus.subscribe(remit_id) as subscription:
                while True:
                    for row in await services.sessions.find_events(principal, remit_id, event_id):
                        event = decode_event(row) if row.visibility == "public" else None
                        if isinstance(event, RemitVerificationRepeated):
                            return event
                    with anyio.move_on_after(VERIFY_POLL_SECONDS):
                        await subscription.next()
        raise WrongState(
            f"The verification of {remit_id!r} has not ended; its answer will be the event {event_id!r}."
        )

    async def receipt(self, request: Request) -> Response:
        Query(request)
        principal = principal_of(request)
        head = await self._head(principal, request.path_params["remit_id"])
        services = self._services
        return json_response(
            await make_receipt(services.sessions, principal, head.stream_id, services.prices)
        )

    async def deliverables(self, request: Request) -> Response:
        Query(request)
        state, _ = await self._load(principal_of(request), request.path_params["remit_id"])
        ready = state.deliverables
        if ready is None and state.ended is None:
            raise WrongState("There are no deliverables yet; they are listed when the work has ended.")
        if ready is None:  # it ended before anything was made: declined, or its input could not be verified
            return json_response({"data": [], "changed": [], "folders": [], "notes": []})
        data = [
            {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in ready.files
        ]
        changed = msgspec.to_builtins(ready.changed)
        folders = msgspec.to_builtins(ready.folders)
        return json_response(
            {"data": data, "changed": changed, "folders": folders, "notes": list(ready.notes)}
        )

    async def deliverable(self, request: Request) -> Response:
        Query(request)
        name = str(request.path_params["name"])
        state, _ = await self._load(principal_of(request), request.path_params["remit_id"])
        files = state.deliverables.files if state.deliverables is not None else ()
        file = next((file for file in files if file.name == name), None)
        if file is None:
            there = ", ".join(file.name for file in files) or "none yet"
            raise NotFound(f"There is no deliverable {name!r}; there are: {there}.")
        return StreamingResponse(
            self._services.blobs.stream(file.sha256),
            media_type=PIECE_TYPES.get(name, "application/octet-stream"),
            headers={
                "content-length": str(file.size_bytes),
                # What an agent made is never shown as a page of this server's.
                "content-disposition": f'attachment; filename="{name}"',
                "x-content-type-options": "nosniff",
            },
        )

    # ------------------------------------------------------------------------------------------ reading

    async def view(self, principal: Principal, remit_id: str) -> JsonObject:
        """The remit object. Raises NotFound."""
        return await self._services.remits.view(principal, remit_id)

    async def _load(self, principal: Principal, remit_id: str) -> tuple[RemitState, StreamHead]:
        return await self._services.remits.load(principal, remit_id)

    async def _head(self, principal: Principal, remit_id: str) -> StreamHead:
        return await self._services.remits.folds.head(principal, remit_id)


def refuse_command(remit_id: str, state: RemitState, type: str, participle: str) -> WrongState | None:
    """Why a remit cannot be told this now; saying the same thing twice is fine."""
    if state.ended is not None and not (state.is_being_raised and type == "remit.interrupt"):
        return WrongState(
            f"Remit {remit_id!r} has ended ({state.status}) and cannot be {participle}; create a new one."
        )
    if type == "remit.approve" and state.consent == "declined":
        return WrongState(f"Remit {remit_id!r} was declined and cannot be approved; create a new one.")
    if type == "remit.decline" and state.has_consent:
        return WrongState(f"Remit {remit_id!r} was approved and cannot be declined; interrupt it instead.")
    return None


def refuse_approval(remit_id: str, state: RemitState, command: Command) -> WrongState | None:
    """Why this yes is not enough: what is known to be asked beside the cost is accepted by name. One that comes while the
    input is still verified is kept, and passes if what is found lets it."""
    left = [
        reason
        for reason in state.reasons
        if state.can_be_asked and reason != "cost" and reason not in command.despite
    ]
    if not left:
        return None
    words = "; ".join(f"`{reason}`: {REASONS[reason]}" for reason in left)
    named = msgspec.json.encode(left).decode()
    return WrongState(
        f"Remit {remit_id!r} asks for more than its cost. {words[:1].upper()}{words[1:]}. To go on all the same, approve "
        f'it with {{"despite": {named}}}, or type: {resume_line(remit_id, left)}',
        code="despite_required",
        details={"reasons": left},
    )


def _is_over(state: RemitState) -> bool:
    """One whose budget is being raised is about to go on."""
    return state.ended is not None and not state.is_being_raised


async def _until_left(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
