"""Remits on the wire (docs/api.md, sections 1 to 4)."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

from remit.schema.agents import HarnessName
from remit.schema.events import (
    OUTCOME_ITERATIONS_DEFAULT,
    OUTCOME_ITERATIONS_MAX,
)
from remit.schema.lists import ListOf, Paging
from remit.schema.operation import SMALL_BODY_BYTES, Operation
from remit.schema.stream_operations import stream_operations
from remit.schema.streams import REMIT
from remit.schema.verifiers import Globs, RubricText, VerifierList
from remit.schema.wire import DESPITE, DOLLARS, JsonMap, Metadata, ModelId, Order, Params, whole

OUTCOME_LENGTH_MAX = 100_000
TOOLCHAINS_MAX = 16
SETUP_LENGTH_MAX = 10_000
TOKENS_MAX = 10**15
RemitStatus = Literal[
    "verifying_input",
    "awaiting_consent",
    "working",
    "interrupted",
    "paused",
    "satisfied",
    "unsatisfied",
    "budget_reached",
    "stopped",
]

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


class RemitInput(TypedDict):
    """The input that a remit's working tree starts as."""

    id: str
    type: Literal["remit_input"]
    size_bytes: int
    files: int
    has_history: bool
    tree_digest: str
    created_at: str


class Amounts(TypedDict):
    """Dollars as a decimal text, and tokens."""

    usd: str
    tokens: int


class Caps(TypedDict):
    """The same of a budget; null where it names no such unit."""

    usd: str | None
    tokens: int | None


class RemitAgent(TypedDict):
    """The agent version that works, with the pair that is compared."""

    id: str
    version: int
    name: str
    model: str
    harness: HarnessName


class RemitEnvironment(TypedDict):
    """The environment as it was when the remit was made."""

    id: str
    name: str
    config: JsonMap


class SetupMount(TypedDict):
    """A tree that stands read-only in every sandbox."""

    path: str
    tree_digest: str
    part: str | None


class Setup(TypedDict):
    """The surroundings of the work."""

    command: str | None
    layer_digest: str | None
    mounts: list[SetupMount]
    python_path: list[str]
    path: list[str]
    notes: list[str]
    duration_seconds: float
    error: str | None


class ProtectedFile(TypedDict):
    """A file of the input that the agent may not change."""

    path: str
    reason: str
    sha256: str | None
    target: str | None


class UsdRange(TypedDict):
    """Three figures of a forecast, in dollars as text."""

    low: str
    likely: str
    high: str


class TokenRange(TypedDict):
    """Three figures of a forecast, in tokens."""

    low: int
    likely: int
    high: int


class Forecast(TypedDict):
    """The forecast: what the remit will probably cost, and what the run on the input has shown."""

    usd: UsdRange | None
    tokens: TokenRange | None
    basis: str
    verification_reserve: Amounts
    notes: list[str]
    proposed_work: list[str]
    rewrites: list[str]


class Consent(TypedDict):
    """The consent: whether a person is asked, what is left to accept, and what was accepted by name."""

    state: Literal["pending", "asked", "given", "declined"]
    reasons: list[str]
    despite: list[str]


class Verdict(TypedDict):
    """One verifier's answer about one tree; docs/api.md says what stands in `evidence`."""

    verifier: JsonMap
    passed: bool
    summary: str
    output: str
    evidence: JsonMap
    tampered: list[str]
    added: list[str]
    rests_on_work: list[str]
    reasons: list[str]
    duration_seconds: float


class Iteration(TypedDict):
    """One evaluation of the work."""

    iteration: int
    result: str
    explanation: str
    verdicts: list[Verdict]


class Remit(TypedDict):
    """One piece of work: an outcome that can be verified, and a budget that cannot be overspent."""

    id: str
    type: Literal["remit"]
    status: RemitStatus
    outcome: str
    verifiers: list[JsonMap]
    budget: Caps
    input_id: str | None
    agent: RemitAgent
    model: str
    max_iterations: int
    protect: list[str]
    unprotect: list[str]
    work: list[str]
    toolchains: list[str]
    setup: Setup | None
    environment: RemitEnvironment | None
    protected: list[ProtectedFile]
    forecast: Forecast | None
    consent: Consent
    initial_verdicts: list[Verdict]
    spent: Amounts
    held: Amounts
    cap: Caps
    iterations: list[Iteration]
    completed: bool
    verified: bool
    vacuous: list[str]
    tampered: list[str]
    added: list[str]
    result_notes: list[str]
    rests_on_work: list[str]
    session_ids: list[str]
    wake_at: str | None
    explanation: str
    metadata: dict[str, str]
    created_at: str
    ended_at: str | None


class Verification(TypedDict):
    """The verdicts on the result as it is now."""

    verdicts: list[Verdict]
    verified: bool


class DeliverableFile(TypedDict):
    """A file to download."""

    name: str
    size_bytes: int
    sha256: str


class ChangedPath(TypedDict):
    """A file or symlink that the work added, changed or removed."""

    path: str
    kind: Literal["added", "modified", "removed"]
    base_sha256: NotRequired[str | None]
    base_target: NotRequired[str | None]
    base_mode: NotRequired[int | None]
    sha256: NotRequired[str | None]
    target: NotRequired[str | None]
    mode: NotRequired[int | None]


class ChangedFolder(TypedDict):
    """A folder that the work added, changed or removed."""

    path: str
    kind: Literal["added", "modified", "removed"]
    mode: NotRequired[int | None]
    base_mode: NotRequired[int | None]


class Deliverables(TypedDict):
    """The deliverables that a remit hands over."""

    data: list[DeliverableFile]
    changed: list[ChangedPath]
    folders: list[ChangedFolder]
    notes: list[str]


class RemitPaging(Paging, frozen=True):
    """The selection of listed remits."""

    order: Order = "desc"
    statuses: tuple[RemitStatus, ...] = ()


_ALL, _ONE = "/v1/remits", "/v1/remits/{remit_id}"
UPLOAD = Operation(
    "POST", f"{_ALL}/inputs", "Upload an input", answer=RemitInput, upload="tar", gate="uploads"
)
CREATE = Operation("POST", _ALL, "Create a remit; answers its forecast", body=RemitCreate, answer=Remit)
LIST = Operation("GET", _ALL, "List remits", query=RemitPaging, answer=ListOf[Remit])
OPERATIONS = stream_operations(REMIT, Remit)
RETRIEVE, EVENTS, STREAM, WHY, CHECK = OPERATIONS
APPROVE = Operation(
    "POST",
    f"{_ONE}/approve",
    "Consent to the forecast",
    body=RemitAnswer,
    answer=Remit,
    is_body_optional=True,
    body_bytes_max=SMALL_BODY_BYTES,
)
DECLINE = Operation(
    "POST",
    f"{_ONE}/decline",
    "Decline the forecast",
    body=RemitAnswer,
    answer=Remit,
    is_body_optional=True,
    body_bytes_max=SMALL_BODY_BYTES,
)
INTERRUPT = Operation("POST", f"{_ONE}/interrupt", "Stop where it is and keep everything", answer=Remit)
RESUME = Operation("POST", f"{_ONE}/resume", "Go on", answer=Remit)
RAISE_BUDGET = Operation(
    "POST",
    f"{_ONE}/budget",
    "Raise the budget of a remit that reached it; it goes on",
    body=BudgetParams,
    answer=Remit,
    body_bytes_max=SMALL_BODY_BYTES,
)
ATTEND = Operation(
    "POST",
    f"{_ONE}/attend",
    "Stand by a remit until it ends, or let it go on alone",
    body=RemitAttend,
    answer=Remit,
    is_body_optional=True,
    body_bytes_max=SMALL_BODY_BYTES,
    is_long=True,
)
VERIFY = Operation(
    "POST", f"{_ONE}/verify", "Run the verifiers again on the result", answer=Verification, is_long=True
)
DELIVERABLES = Operation("GET", f"{_ONE}/deliverables", "What the remit hands over", answer=Deliverables)
DOWNLOAD = Operation("GET", f"{_ONE}/deliverables/{{name}}", "Download a deliverable", answer=bytes)
