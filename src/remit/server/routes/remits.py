"""/v1/remits: docs/api.md, section 2. A route appends and wakes; what happens then is the remit handler's."""

from __future__ import annotations

import anyio
import msgspec
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp

from remit.client.consent import REASONS, resume_line
from remit.errors import InvalidRequest, NotFound, VerifierUnavailable, WrongState
from remit.remits.creation import RemitCreation, read_budget, read_despite
from remit.remits.events import Command, InputReceived, RemitVerificationRepeated, decode_event
from remit.remits.inputs import Inputs, input_to_wire
from remit.remits.receipt import make_receipt
from remit.remits.reopening import is_to_be_raised
from remit.remits.state import RemitState, is_pointless
from remit.remits.verification import priced_verifiers
from remit.schema import receipts, remits
from remit.schema.lists import encode_list
from remit.schema.operation import NoQuery
from remit.schema.remits import BudgetParams, RemitAnswer, RemitAttend, RemitCreate, RemitInput, RemitPaging
from remit.server.operations.listing import read_page
from remit.server.operations.requests import encoded_response, json_response, pieces, until_left
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.server.routes.attendance import Attendance
from remit.streams.deciding import decide
from remit.values import ConsentReason, JsonObject, Principal, StreamFilter, StreamHead
from remit.verifiers.composition import Verifiers

VERIFY_SECONDS_MAX = 16 * 3_600.0
"""As long as sixteen verifiers may take; after that the answer is only in the events."""
VERIFY_POLL_SECONDS = 1.0
ATTEND_POLL_SECONDS = 5.0
"""How late an end may be seen whose hint was lost."""
TAR_TYPES = frozenset({"application/x-tar", "application/tar", "application/octet-stream"})
PIECE_TYPES = {"files.tar": "application/x-tar", "result.patch": "text/x-diff"}


class RemitRoutes:
    """Upload an input; create, list, commands, receipt, deliverables."""

    def __init__(
        self,
        services: Services,
        *,
        creation: RemitCreation,
        inputs: Inputs,
        verifiers: Verifiers,
        attendance: Attendance,
    ) -> None:
        self._services = services
        self._attendance = attendance
        self._creation = creation
        self._inputs = inputs
        self._verifiers = verifiers

    @handles(remits.UPLOAD)
    async def upload(self, call: Call[None, NoQuery]) -> RemitInput:
        """A tar, read as it arrives."""
        kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in TAR_TYPES:
            raise InvalidRequest(f"`content-type`: must be application/x-tar, not {kind or 'missing'!r}.")
        return input_to_wire(await self._inputs.store(call.principal, pieces(call.request)))

    @handles(remits.CREATE)
    async def create(self, call: Call[RemitCreate, NoQuery]) -> ASGIApp:
        remit_id = await self._creation.create(call.principal, call.body)
        return await self._answer(call.principal, remit_id)

    @handles(remits.LIST)
    async def list(self, call: Call[None, RemitPaging]) -> ASGIApp:
        query, principal = call.query, call.principal
        page = read_page(query, list="remits", is_ascending=query.order == "asc")
        heads = await self._services.sessions.list_streams(
            principal, StreamFilter(kind="remit", statuses=query.statuses), page.query()
        )
        shown = heads[: page.limit]
        items = [msgspec.json.encode(await self._services.remits.view_of(principal, head)) for head in shown]
        positions = [(head.created_at_us, head.stream_id) for head in heads]
        return encoded_response(encode_list(items, page.next_page(positions)))

    @handles(remits.APPROVE)
    async def approve(self, call: Call[RemitAnswer, NoQuery], remit_id: str) -> ASGIApp:
        despite = read_despite(call.body.despite)
        return await self._command(
            call.principal, remit_id, "remit.approve", "approved", reason=call.body.reason, despite=despite
        )

    @handles(remits.DECLINE)
    async def decline(self, call: Call[RemitAnswer, NoQuery], remit_id: str) -> ASGIApp:
        if call.body.despite is not None:
            raise InvalidRequest("`despite`: belongs to approve; remove it.")
        return await self._command(
            call.principal, remit_id, "remit.decline", "declined", reason=call.body.reason
        )

    @handles(remits.INTERRUPT)
    async def interrupt(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        return await self._command(call.principal, remit_id, "remit.interrupt", "interrupted")

    @handles(remits.RESUME)
    async def resume(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        return await self._command(call.principal, remit_id, "remit.resume", "resumed")

    async def _command(
        self,
        principal: Principal,
        remit_id: str,
        type: str,
        participle: str,
        *,
        reason: str | None = None,
        despite: tuple[ConsentReason, ...] = (),
    ) -> ASGIApp:
        state, head = await self._load(principal, remit_id)
        if refusal := refuse_command(remit_id, state, type, participle):
            raise refusal
        command = Command(
            id=self._services.ids.new("revt"),
            type=type,
            actor=principal.actor,
            reason=reason,
            despite=despite,
        )
        if type == "remit.approve" and (refusal := refuse_approval(remit_id, state, command)):
            raise refusal
        # Behind what is not taken up yet it may mean something after all: resume, then interrupt.
        if state.pending or not is_pointless(state, command):
            await self._append_command(principal, head, command)
        return await self._answer(principal, remit_id)

    @handles(remits.RAISE_BUDGET)
    async def raise_budget(self, call: Call[BudgetParams, NoQuery], remit_id: str) -> ASGIApp:
        services, principal = self._services, call.principal
        new = read_budget(call.body)

        async def attempt() -> None:
            state, head = await self._load(principal, remit_id)
            if await is_to_be_raised(services.sessions, principal, remit_id, state, new):
                command = Command(
                    id=services.ids.new("revt"), type="remit.raise", actor=principal.actor, budget=new
                )
                await self._append_command(principal, head, command, expected_seq=head.seq)

        await decide(attempt)
        return await self._answer(principal, remit_id)

    async def _append_command(
        self, principal: Principal, head: StreamHead, command: Command, *, expected_seq: int | None = None
    ) -> None:
        received = InputReceived(id=command.id, event=command)
        await self._services.remits.receive(
            principal, head.stream_id, received, key=command.id, expected_seq=expected_seq
        )

    @handles(remits.ATTEND)
    async def attend(self, call: Call[RemitAttend, NoQuery], remit_id: str) -> ASGIApp:
        principal = call.principal
        state, _ = await self._load(principal, remit_id)
        if _is_over(state) or call.body.detach:
            self._attendance.forget(remit_id)
        else:
            with self._attendance.attending(principal, remit_id):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(until_left, call.request.receive, tasks.cancel_scope)
                    await self._until_ended(principal, remit_id)
                    tasks.cancel_scope.cancel()
        return await self._answer(principal, remit_id)

    async def _until_ended(self, principal: Principal, remit_id: str) -> None:
        async with self._services.bus.subscribe(remit_id) as subscription:
            while not _is_over((await self._load(principal, remit_id))[0]):
                with anyio.move_on_after(ATTEND_POLL_SECONDS):
                    while not any(row.type == "remit.ended" for row in (await subscription.next()).rows):
                        pass

    @handles(remits.VERIFY)
    async def verify(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        services, principal = self._services, call.principal
        state, head = await self._load(principal, remit_id)
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

    @handles(receipts.RECEIPT)
    async def receipt(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        services = self._services
        head = await self._head(call.principal, remit_id)
        return json_response(
            await make_receipt(services.sessions, call.principal, head.stream_id, services.prices)
        )

    @handles(remits.DELIVERABLES)
    async def deliverables(self, call: Call[None, NoQuery], remit_id: str) -> ASGIApp:
        state, _ = await self._load(call.principal, remit_id)
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

    @handles(remits.DOWNLOAD)
    async def deliverable(self, call: Call[None, NoQuery], remit_id: str, name: str) -> ASGIApp:
        state, _ = await self._load(call.principal, remit_id)
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

    async def _answer(self, principal: Principal, remit_id: str) -> ASGIApp:
        return json_response(await self.view(principal, remit_id))

    async def view(self, principal: Principal, remit_id: str) -> JsonObject:
        """The remit object. Raises NotFound."""
        return await self._services.remits.view(principal, remit_id)

    async def _load(self, principal: Principal, remit_id: str) -> tuple[RemitState, StreamHead]:
        return await self._services.remits.load(principal, remit_id)

    async def _head(self, principal: Principal, remit_id: str) -> StreamHead:
        return await self._services.remits.folds.head(principal, remit_id)


def refuse_command(remit_id: str, state: RemitState, type: str, participle: str) -> WrongState | None:
    """Return the refusal of a command that cannot be told now; saying it twice is fine."""
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
    """Return the refusal of an approval that is not enough: what is known to be asked beside the cost is
    accepted by name. One that comes while the input is still verified is kept, and passes if what is found
    lets it."""
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
