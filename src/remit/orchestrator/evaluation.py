"""The outcome loop of a session: when a turn ends by itself and an outcome is open, its verifiers judge a snapshot.

Here, and in no harness, so that the built-in loop and every guest are verified alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import UNSET

from remit.catalog.owned_blobs import OwnedBlobs
from remit.errors import RemitError, SandboxLost, SandboxUnavailable, VerifierUnavailable
from remit.orchestrator.background import in_background
from remit.orchestrator.recorder import SessionRecorder
from remit.orchestrator.sandbox_trees import EMPTY_TREE
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.surroundings import (
    baselines,
    despite,
    input_tree_digest,
    session_path,
    session_variables,
    toolchains,
)
from remit.output_text import shorten
from remit.session import events
from remit.session.reporting import evaluated_report
from remit.session.state import Outcome, SessionState
from remit.session.turn_rows import (
    OutcomeEvaluationEnd,
    OutcomeEvaluationOngoing,
    OutcomeEvaluationStart,
    OutcomePending,
    OutcomeVerified,
)
from remit.sessions.kind import SessionWriter
from remit.streams.children import ChildEvaluation, to_parent
from remit.values import JsonObject, Pending, Verdict, VerifyRequest
from remit.verifiers.composition import Verifiers

HEARTBEAT_SECONDS = 15.0
"""Between two signs of life of an evaluation, which may take as long as its slowest verifier."""
ASK_AGAIN_SECONDS_MIN = 1.0
"""Between two questions to a verifier that waits for something, however soon it wants to be asked."""
WAITS_FOR_LENGTH_MAX = 300
"""Characters of what verifiers wait for."""
OUTPUT_SHOWN_MAX = 12_000
"""Characters of one verifier's output that go back to the agent."""
EXPLANATION_SHOWN_MAX = 2_000
"""Characters of one verifier's output that the wire's explanation quotes."""


class Evaluation:
    """Runs one evaluation at a time of one session."""

    def __init__(
        self,
        *,
        verifiers: Verifiers,
        sandboxes: SessionSandboxes,
        blobs: OwnedBlobs,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._verifiers = verifiers
        self._sandboxes = sandboxes
        self._blobs = blobs
        self._heartbeat_seconds = heartbeat_seconds

    async def run(self, writer: SessionWriter) -> None:
        """Judge the work and append the result, or what the verifiers wait for: then ask again when that time has come.
        Raises HoldRefused, ModelCallFailed when a grader cannot be paid or reached: none of these is a verdict, and the
        evaluation stays open."""
        outcome = writer.state.outcome
        assert outcome is not None
        if outcome.evaluation_start_id is None:
            await writer.append(OutcomeEvaluationStart(outcome_id=outcome.id, iteration=outcome.iteration))
        recorder = SessionRecorder(writer, use="grader")
        async with in_background(self._heartbeat(writer, outcome)):
            said, asked, failure = await self._judge(writer, outcome, recorder)
        verdicts = [one for one in said if isinstance(one, Verdict)]
        if asked is not None and len(verdicts) < len(said):
            await self._wait(writer, outcome, asked, said)
        else:
            await self._conclude(writer, outcome, verdicts, failure, recorder)

    async def _wait(
        self,
        writer: SessionWriter,
        outcome: Outcome,
        asked: VerifyRequest,
        said: Sequence[Verdict | Pending],
    ) -> None:
        """Leave it to whoever works on the session when they are asked again; nothing runs meanwhile."""
        pending = [one for one in said if isinstance(one, Pending)]
        lines = dict.fromkeys(one.waits_for.partition("\n")[0] for one in pending)
        waits_for = "; ".join(lines)[:WAITS_FOR_LENGTH_MAX]
        soonest_us = writer.clock.now_us() + int(ASK_AGAIN_SECONDS_MIN * 1_000_000)
        known = _known(outcome) or [None] * len(said)
        row = OutcomePending(
            outcome_id=outcome.id,
            verification_id=asked.verification_id,
            tree_digest=asked.tree_digest,
            outputs_digest=asked.outputs_digest,
            waits_for=waits_for,
            wake_at_us=max(soonest_us, min(one.wake_at_us for one in pending)),
            verdicts=[
                cast("JsonObject", msgspec.to_builtins(one)) if isinstance(one, Verdict) and not old else None
                for one, old in zip(said, known, strict=True)
            ],
        )
        is_told = outcome.waiting is not None and outcome.waiting.waits_for == waits_for
        told = OutcomeEvaluationOngoing(
            outcome_id=outcome.id, iteration=outcome.iteration, waits_for=waits_for
        )
        await writer.append(row, *(() if is_told else (told,)))

    async def _judge(
        self, writer: SessionWriter, outcome: Outcome, recorder: SessionRecorder
    ) -> tuple[Sequence[Verdict | Pending], VerifyRequest | None, RemitError | None]:
        state, waiting = writer.state, outcome.waiting
        try:
            digest = waiting.tree_digest if waiting is not None else await self._tree_digest(writer)
            await self._sandboxes.install_packages(writer)  # the agent may have needed no sandbox
            request = VerifyRequest(
                principal=writer.principal,
                stream_id=state.session_id,
                verification_id=_verification_id(writer, outcome),
                verifier={},
                tree_digest=digest,
                outputs_digest=state.outputs_digest if waiting is None else waiting.outputs_digest,
                input_tree_digest=input_tree_digest(state.created),
                mounts=await self._sandboxes.mounts(writer),
                environment=session_variables(state),
                path=session_path(state),
                toolchains=toolchains(state.created),
                outcome=str(outcome.event["description"]),
                despite=despite(state.created),
            )
            said = await self._verifiers.verify_all(
                request,
                outcome_verifiers(outcome.event, default_model=_model_of(state)),
                recorder,
                baselines=baselines(state.created),
                known=_known(outcome),
            )
        except (SandboxUnavailable, SandboxLost, VerifierUnavailable) as error:
            return (), None, error
        return said, request, None

    async def _tree_digest(self, writer: SessionWriter) -> str:
        try:
            digest = await self._sandboxes.snapshot(writer)
        except SandboxLost as error:
            await self._sandboxes.announce_loss(writer, error)
            digest = await self._sandboxes.snapshot(writer)
        if digest is not None:
            return digest
        return await self._blobs.put(writer.principal, writer.stream_id, EMPTY_TREE.encode())

    async def _conclude(
        self,
        writer: SessionWriter,
        outcome: Outcome,
        verdicts: Sequence[Verdict],
        failure: RemitError | None,
        recorder: SessionRecorder,
    ) -> None:
        has_passed = failure is None and all(verdict.passed for verdict in verdicts)
        is_last = outcome.iteration + 1 >= outcome.max_iterations
        if failure is not None:
            result, explanation = "failed", f"The work could not be judged: {failure.message}"
        elif has_passed:
            result, explanation = "satisfied", _summaries(verdicts)
        else:
            result = "max_iterations_reached" if is_last else "needs_revision"
            explanation = _why_not([verdict for verdict in verdicts if not verdict.passed])
        # After the last iteration the wire gives the agent one turn to acknowledge; work for a parent needs none.
        is_told = result == "needs_revision" or (
            result == "max_iterations_reached" and not writer.state.parent_stream_id
        )
        verified = OutcomeVerified(
            outcome_id=outcome.id,
            verification_id=outcome.evaluation_start_id,
            iteration=outcome.iteration,
            result=result,
            verdicts=[cast("JsonObject", msgspec.to_builtins(verdict)) for verdict in verdicts],
            feedback=feedback(verdicts, is_last=is_last) if is_told else UNSET,
        )
        end = writer.new(
            OutcomeEvaluationEnd(
                outcome_id=outcome.id,
                outcome_evaluation_start_id=outcome.evaluation_start_id or "",
                iteration=outcome.iteration,
                result=result,
                explanation=explanation,
                usage=events.model_usage(recorder.usage),
            )
        )
        state = writer.state
        report = evaluated_report(
            state,
            ChildEvaluation(
                event_id=end.event_id,
                outcome_id=outcome.id,
                outcome_event_id=str(outcome.event["id"]),
                is_first_outcome=outcome.id == state.standing.first_outcome_id,
                result=result,
                explanation=explanation,
                verdicts=tuple(verdicts),
            ),
        )
        await writer.append(
            verified,
            end,
            outbox=to_parent(state.parent_stream_id, report, end.event_id, writer.ids),
        )

    async def _heartbeat(self, writer: SessionWriter, outcome: Outcome) -> None:
        while True:
            await writer.clock.sleep(self._heartbeat_seconds)
            await writer.append(OutcomeEvaluationOngoing(outcome_id=outcome.id, iteration=outcome.iteration))


def _verification_id(writer: SessionWriter, outcome: Outcome) -> str:
    """The same until what they wait for is over; another one for another tree."""
    if outcome.waiting is not None:
        return outcome.waiting.verification_id
    again = f".{outcome.waits}" if outcome.waits else ""
    return f"{outcome.evaluation_start_id}.{writer.epoch}{again}"


def _known(outcome: Outcome) -> list[Verdict | None]:
    if outcome.waiting is None:
        return []
    said = outcome.waiting.verdicts
    return [None if one is None else msgspec.convert(one, Verdict) for one in said]


def outcome_verifiers(event: JsonObject, *, default_model: str) -> list[JsonObject]:
    """The verifiers of a `user.define_outcome`: Remit's own field, else its rubric given to a grader. A grader without
    a model of its own is the agent's model, in another context."""
    given = cast("list[JsonObject] | None", event.get("verifiers"))
    if not given:
        rubric = cast("JsonObject", event["rubric"])
        given = [{"type": "rubric", "rubric": rubric["content"]}]
    return [
        {**verifier, "model": verifier.get("model") or default_model}
        if verifier["type"] == "rubric"
        else verifier
        for verifier in given
    ]


def _model_of(state: SessionState) -> str:
    return str(cast("JsonObject", state.agent["model"])["id"])


def feedback(verdicts: Sequence[Verdict], *, is_last: bool) -> str:
    """Write the text that tells the agent about a failed evaluation."""
    parts = ["<system>", "Your work was checked where you cannot reach, and it is not done yet."]
    for verdict in verdicts:
        if verdict.passed:
            continue
        parts.append(f"\nFailed: {verdict.summary}")
        if verdict.tampered:
            parts.append(
                "Protected files were changed or removed: "
                + ", ".join(verdict.tampered)
                + ". They are restored for "
                "every check, so changing them cannot help. Undo that and solve the task itself."
            )
        if verdict.added:
            parts.append("These added files are left out of the check: " + ", ".join(verdict.added) + ".")
        if verdict.output:
            parts.append(verdict.output[-OUTPUT_SHOWN_MAX:])
    parts.append(
        "\nThere will be no further check. Say briefly what is missing."
        if is_last
        else "\nRevise the work until this passes."
    )
    parts.append("</system>")
    return "\n".join(parts)


def _why_not(verdicts: Sequence[Verdict]) -> str:
    """The summaries in the first line, below it what each verifier said."""
    said = [shorten(verdict.output.strip(), head=0, tail=EXPLANATION_SHOWN_MAX) for verdict in verdicts]
    return "\n".join([_summaries(verdicts), *filter(None, said)])


def _summaries(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(verdict.summary for verdict in verdicts)
