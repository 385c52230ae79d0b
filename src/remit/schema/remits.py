"""Remits on the wire: what callers send. What is answered is in docs/api.md, sections 2 to 4."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from remit.schema.events import OUTCOME_ITERATIONS_DEFAULT, OUTCOME_ITERATIONS_MAX
from remit.schema.verifiers import Globs, RubricText, VerifierList
from remit.schema.wire import DESPITE, DOLLARS, Metadata, ModelId, Params, whole

OUTCOME_LENGTH_MAX = 100_000
TOOLCHAINS_MAX = 16
SETUP_LENGTH_MAX = 10_000
TOKENS_MAX = 10**15
REMIT_STATUSES = (
    "verifying_input",
    "awaiting_consent",
    "working",
    "interrupted",
    "paused",
    "satisfied",
    "unsatisfied",
    "budget_reached",
    "stopped",
)

Toolchain = Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)]
Despite = Annotated[list[Annotated[str, whole(DESPITE)]], msgspec.Meta(max_length=16)]
"""Reasons to ask that are accepted by name; `cost` is accepted by consent itself."""
Toolchains = Annotated[list[Toolchain], msgspec.Meta(max_length=TOOLCHAINS_MAX)]


class BudgetParams(Params, frozen=True):
    """Dollars as a decimal string, tokens as a number, or both."""

    usd: Annotated[str, whole(DOLLARS)] | None = None
    tokens: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | None = None


class RemitCreate(Params, frozen=True):
    """POST /v1/remits."""

    outcome: Annotated[str, msgspec.Meta(min_length=1, max_length=OUTCOME_LENGTH_MAX)]
    budget: BudgetParams
    verifiers: VerifierList | None = None
    rubric: RubricText | None = None
    input_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    model: ModelId | None = None
    max_iterations: Annotated[int, msgspec.Meta(ge=1, le=OUTCOME_ITERATIONS_MAX)] = OUTCOME_ITERATIONS_DEFAULT
    protect: Globs | None = None
    unprotect: Globs | None = None
    work: Globs | None = None
    """What the agent may change: given, everything else is protected."""
    toolchains: Toolchains | None = None
    setup: Annotated[str, msgspec.Meta(min_length=1, max_length=SETUP_LENGTH_MAX)] | None = None
    """A command that runs once before everything else, on a copy of the input, with the package registries open."""
    environment_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    consent: Literal["required", "given"] = "required"
    despite: Despite | None = None
    metadata: Metadata | None = None


class RemitAttend(Params, frozen=True):
    """POST attend: stand by, or with `detach` say that nobody needs to."""

    detach: bool = False


class RemitAnswer(Params, frozen=True):
    """POST approve, decline, interrupt, resume: a reason belongs to decline and may stand with approve, `despite` to
    approve."""

    reason: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None
    despite: Despite | None = None
